"""Images to embeddings: networks, what is kept of their feature maps, and a cache."""
