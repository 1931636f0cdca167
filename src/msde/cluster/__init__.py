"""Embedding, scoring and fitting on a Ray cluster: a folder of parts, each done once."""
