"""Nearest rows: exactly among few, by a sketch and its cells among many."""
