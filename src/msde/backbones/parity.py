"""The last check of a backbone: what its graph gives is what the network gives that it was made from."""

from __future__ import annotations

from collections.abc import Mapping

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


def check_parity(
    backbone: Backbone, pixels: np.ndarray, expected: Mapping[str, np.ndarray], tolerance: float = PARITY
) -> None:
    """Refuse a backbone whose graph does not give the expected outputs, by name.

    Raises BackboneError if one differs by more than the tolerance, or graph and weights do not fit together.
    """
    found = EmbeddingSession(backbone).run(pixels, list(expected))
    for name, wanted in expected.items():
        if found[name].shape != wanted.shape:
            raise BackboneError(
                f"backbone {backbone.name}: {name} of its ONNX graph is {found[name].shape[1:]} an image, the original"
                f" network's {wanted.shape[1:]}; choose another model"
            )
        difference = float(np.abs(found[name] - wanted).max() / np.abs(wanted).max())
        if not difference <= tolerance:
            raise BackboneError(
                f"backbone {backbone.name}: {name} of its ONNX graph differs from the original network's by"
                f" {difference:.1e}, more than {tolerance:.0e}; choose another model"
            )
