"""Which of many p-values are discoveries, few of them false."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9


def discoveries(p_values: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Choose p-values by the procedure of Benjamini and Hochberg.

    For conformal p-values of independent images it keeps the false-discovery rate, the expected share of normals among
    those chosen, at most at `rate` (Bates et al., Annals of Statistics 51:149, 2023, theorem 2), though they share one
    calibration.

    Parameters
    ----------
    p_values : ndarray of shape (m,)
        NaN is never chosen and does not count.
    rate : float
        In (0, 1).

    Returns
    -------
    ndarray of shape (m,), bool
        The k lowest, k being the largest number for which the k-th lowest is at most rate k / m.
    """
    ordered = np.sort(p_values[~np.isnan(p_values)])
    limits = rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    fitting = np.flatnonzero(ordered <= limits * (1 + _ROUNDING))
    if not len(fitting):
        return np.zeros(len(p_values), dtype=bool)
    return np.asarray(p_values <= ordered[fitting[-1]])
