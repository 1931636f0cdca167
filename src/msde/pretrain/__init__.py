"""Pretraining of an encoder on normals by telling them from synthetic anomalies. Needs torch."""
