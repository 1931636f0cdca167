"""Types of arrays, an even choice of their rows, and rows of unit length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IndexArray = NDArray[np.intp]


_SHORTEST = 1e-12


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide rows (..., d) by their lengths; rows of nothing stay."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), _SHORTEST)


def evenly_spaced(n: int, most: int) -> IndexArray:
    """Choose at most so many of n row numbers, evenly spaced.

    Parameters
    ----------
    n : int
        Number of rows.
    most : int
        Largest number chosen, at least 1.

    Returns
    -------
    ndarray of shape (min(n, most),)
        Ascending row numbers.
    """
    return np.linspace(0, n - 1, min(n, most)).astype(np.intp)
