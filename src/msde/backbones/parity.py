"""The last check of a backbone: its embeddings are those of the network it was made from."""

from __future__ import annotations

import numpy as np

from msde.backbones.backbone import Backbone
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError

PARITY = 1e-4  # largest difference from the original, relative to the largest value
HALF_PARITY = 5e-3  # of a graph that computes in float16, whose rounding depends on the batch
ROWS = 3


def noise(size: int) -> np.ndarray:
    """Return the pictures that the check is made with: noise, float32 (3, 3, size, size), in [0, 1]."""
    return np.random.default_rng(0).random((ROWS, 3, size, size), np.float32)


def check_parity(backbone: Backbone, pixels: np.ndarray, expected: np.ndarray, tolerance: float = PARITY) -> None:
    """Refuse a backbone whose embeddings are not the expected ones.

    Raises BackboneError if they differ by more than the tolerance, or graph and weights do not fit together.
    """
    found = EmbeddingSession(backbone).embed(pixels)
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference <= tolerance:
        raise BackboneError(
            f"backbone {backbone.name}: its ONNX graph differs from the original network by {difference:.1e}, "
            f"more than {tolerance:.0e}; choose another model"
        )
