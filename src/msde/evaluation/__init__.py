"""A model measured on labelled images, and its heat maps on masks."""
