"""The score of a volume, stack or slide from those of its slices, frames, pages or tiles."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

TOP_SHARE = 0.1


def volume_score(scores: NDArray[np.float64]) -> float:
    """Average the highest tenth of the parts' scores, rounded up to whole parts.

    One odd slice among hundreds is noise more often than not, and the mean of all hides a lesion that a few show.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        One a part, in any order; n is at least 1.

    Returns
    -------
    float
        NaN where one of the scores is: what cannot be read may hold the lesion.
    """
    if np.isnan(scores).any():
        return math.nan
    highest = math.ceil(len(scores) * TOP_SHARE)
    return float(np.sort(scores)[-highest:].mean())
