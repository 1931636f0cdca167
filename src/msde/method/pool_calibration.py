"""Calibration on normals like those of a pool: held-out training normals, moved to where the pool's normals score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray
from msde.method.scorers import AdaptiveScorer, LabelledScorer

FEWEST_ROWS = 8
STANDARD_ERRORS = 3
_INFORMATION = 1 - 2 / np.pi  # on the place of a normal distribution, of a value that lies below its middle


class HeldOutScores(Protocol):
    """Whatever scores training normals that it has not seen."""

    @property
    def scores(self) -> NDArray[np.float64]:
        """Held-out scores in the order of the rows."""


@dataclass(frozen=True)
class MovedToPool:
    """Held-out scores of training normals, as normals of the pool would have them.

    Parameters
    ----------
    held_out : HeldOutScores
        Of the training normals.
    scorer : AdaptiveScorer or LabelledScorer
        Fitted to all of them and to the pool.
    pool : ndarray of shape (m, d)
        Embeddings of the pool.
    """

    held_out: HeldOutScores
    scorer: AdaptiveScorer | LabelledScorer
    pool: FloatArray

    @cached_property
    def move(self) -> float:
        """How much higher the pool's normals score, at least 0."""
        return move_of_normals(self.held_out.scores, self.scorer.held_out_of_direction(self.pool))

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores in the order of the training rows; none where none could be held out."""
        return self.held_out.scores + self.move


def move_of_normals(held_out: NDArray[np.float64], pool: NDArray[np.float64]) -> float:
    """Tell how much higher the normals of a pool score than held-out training normals.

    Abnormal rows are few among the inner half of a pool. Were all of that half normal, its scores would be those of
    normals as far as they lie below a limit: the place of such a cut distribution is fitted by maximum likelihood
    (Efron, "Large-scale simultaneous hypothesis testing: the choice of a null hypothesis", JASA 99:96, 2004), its shape
    being that of the held-out scores. Where many are abnormal, the place comes out too high, so that less is flagged.

    Parameters
    ----------
    held_out : ndarray of shape (n,)
        Scores of held-out training normals.
    pool : ndarray of shape (m,)
        Scores of the pool by what was not learned from each.

    Returns
    -------
    float
        At least 0; 0 where it is less than three standard errors, which leaves room for images that come in groups.
    """
    if len(held_out) < FEWEST_ROWS or len(pool) < FEWEST_ROWS:
        return 0.0
    low, high = np.quantile(held_out, [0.1587, 0.8413])  # two deviations apart in a normal distribution
    scale = float(high - low) / 2
    if scale <= 0:
        return 0.0
    places = _normal_scores(np.sort(held_out), scale, pool)
    limit = float(np.median(places))
    inner = places[places <= limit]
    place = _place_below(limit, float(inner.mean()))
    error = 1 / np.sqrt(len(inner) * _INFORMATION)
    return place * scale if place > STANDARD_ERRORS * error else 0.0


def _normal_scores(ascending: NDArray[np.float64], scale: float, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put scores on the scale on which ascending ones are normally distributed, and go on straight beyond them."""
    n = len(ascending)
    quantiles = np.array([NormalDist().inv_cdf((rank + 0.5) / n) for rank in range(n)])
    below, above = np.minimum(scores - ascending[0], 0), np.maximum(scores - ascending[-1], 0)
    return np.interp(scores, ascending, quantiles) + (below + above) / scale


def _place_below(limit: float, mean: float) -> float:
    """Give the place of a normal distribution of deviation 1 whose part below a limit has this mean."""
    low, high = limit - 40.0, limit + 30.0
    for _ in range(60):
        place = (low + high) / 2
        normal = NormalDist(place)
        share = normal.cdf(limit)
        cut = place - normal.pdf(limit) / share if share > 0 else limit
        low, high = (place, high) if cut < mean else (low, place)
    return high
