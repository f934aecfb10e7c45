"""Configuration: the user's TOML files, read, checked as a whole and made typed."""
