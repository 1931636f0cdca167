"""A fitted model: what it learns from, what it says of images, and its file."""
