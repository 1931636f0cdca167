"""The score of a volume, stack or slide from those of its slices, frames, pages or tiles."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    return float(volume_scores(scores[None])[0])


def volume_scores(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what `volume_score` does for each of k volumes of n parts, (k, n)."""
    highest = np.sort(scores, axis=1)[:, -_n_highest(scores.shape[1]) :]  # NaN are sorted to the end
    return np.asarray(highest.mean(axis=1))


def highest_parts(scores: ArrayLike) -> NDArray[np.intp]:
    """Return which parts `volume_score` averages: their numbers, the highest score first.

    Parameters
    ----------
    scores : array-like of shape (n,)
        As there, none of them NaN.
    """
    values = np.asarray(scores, dtype=np.float64)
    return np.argsort(-values, kind="stable")[: _n_highest(len(values))]


def _n_highest(n: int) -> int:
    return math.ceil(n * TOP_SHARE)
