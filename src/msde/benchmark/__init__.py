"""Detectors measured side by side: sets x backbones x detectors x protocols from one TOML file (docs/benchmark.md)."""
