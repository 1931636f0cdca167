"""Trivial statistics of a picture: what a detector gets without looking at anatomy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.float32]
_LEVELS = 256


def _zero_share(gray: Gray) -> float:
    return float((gray == 0).mean())


def _sharpness(gray: Gray) -> float:
    """Return the variance of the Laplacian (four neighbours)."""
    inner = gray[1:-1, 1:-1]
    return float((gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * inner).var())


def _entropy(gray: Gray) -> float:
    """Return the entropy of the histogram of 256 levels, in bits."""
    levels = np.minimum(gray * _LEVELS, _LEVELS - 1).astype(np.intp)
    shares = np.bincount(levels.ravel(), minlength=_LEVELS) / levels.size
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


STATISTICS: dict[str, Callable[[Gray], float]] = {
    "mean": lambda gray: float(gray.mean(dtype=np.float64)),
    "standard deviation": lambda gray: float(gray.std(dtype=np.float64)),
    "share of zero pixels": _zero_share,
    "sharpness": _sharpness,
    "entropy": _entropy,
}
"""Each takes pixels in [0, 1], shape (H, W) with H, W >= 3, and gives a finite number."""
