"""Scores as tables, heat maps as files, and figures in words."""
