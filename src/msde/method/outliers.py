"""Which training rows may not be normal: abnormal images hidden among the normals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray
from msde.method.gaussian import fit_shrunk

LIMIT = 1.75
N_PASSES = 2
FEWEST_ROWS = 50


def outlyingness(rows: FloatArray) -> NDArray[np.float64]:
    """Tell how far each training row stands out from the others.

    A row is measured from the Gaussian of the other trusted rows. The logarithms of these distances are put on a scale
    that is taken from their lower half alone, because hidden abnormal rows sit in the upper half. This is repeated, for
    abnormal rows that have left no longer hide their like.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Standardised normals, n >= 3.

    Returns
    -------
    ndarray of shape (n,), float64
        Robust standard scores; rows above `LIMIT` are not to be trusted. With fewer than `FEWEST_ROWS` normals
        the scale is too rough, and the detector does not ask.
    """
    doubts = np.zeros(len(rows))
    for _ in range(N_PASSES):
        logarithms = np.log(np.maximum(_distances_from_the_others(rows, doubts <= LIMIT), np.finfo(np.float64).tiny))
        # The 15.87 % quantile of a normal distribution lies one deviation below its median.
        middle, low = np.quantile(logarithms, [0.5, 0.1587])
        doubts = (logarithms - middle) / max(middle - low, 1e-9)
    return doubts


def _distances_from_the_others(rows: FloatArray, trusted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Square the Mahalanobis distance of each row from the Gaussian of the trusted rows without it.

    Leaving a row out changes the covariance by a multiple of its outer product, so the inverse is known (Sherman and
    Morrison, 1950); the shrinkage is held.
    """
    gaussian, shrinkage = fit_shrunk(rows[trusted])
    squared = gaussian.mahalanobis(rows) ** 2
    n = int(trusted.sum())
    grown = n / (n - 1)
    inner = squared / grown
    removed = (1 - shrinkage) * n / (n - 1) ** 2 * inner
    return np.where(trusted, grown**2 * inner / np.maximum(1 - removed, 1e-3), squared)
