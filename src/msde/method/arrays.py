"""Types of arrays, and an even choice of their rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IndexArray = NDArray[np.intp]


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
