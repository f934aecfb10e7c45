"""What a site is like, and whether it is as its cluster profile says. Pure: facts in, findings out."""
