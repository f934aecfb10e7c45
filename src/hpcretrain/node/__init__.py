"""What runs on a node: recipes, the training job, and the process that predicts. Nothing here talks to a server."""
