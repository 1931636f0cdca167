"""Conformal p-values and thresholds from held-out normals.

Source: Bates, Candès, Lei, Romano, Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 51:149,
2023, section 2. The held-out scores come from cross-fitting, and new images are scored by a fit to all normals, so the
p-values are approximate (Vovk's cross-conformal predictors, 2015, would score each new image by all the fold models).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.parallel import in_order, single_threaded_products
from msde.method.scorers import Scorer

Fit = Callable[[FloatArray], Scorer]

N_FOLDS = 10
SHORTEST_RUN = 5
LOWEST_RATE, HIGHEST_RATE = 1e-6, 1 - 1e-6
"""Beyond them a false-alarm rate is taken for a slip: no number of normals at hand tells it from 0 or 1."""
_ROUNDING = 1e-9  # keeps alpha * (n + 1) = 15.000000000000002 and 14.999999999999998 alike
_MOST_NORMALS = 10**15


def is_rate(alpha: float) -> bool:
    """Whether a number can be asked for as a false-alarm rate."""
    return LOWEST_RATE <= alpha <= HIGHEST_RATE


def check_rate(alpha: float) -> None:
    """Check that a false-alarm rate asked for has a rank.

    Raises
    ------
    ValueError
        If it is so near 0 or 1 that it has none, or NaN.
    """
    if not is_rate(alpha):
        raise ValueError(f"alpha must lie in (0, 1), {LOWEST_RATE:g} away from either end; got {alpha!r}")


def normals_needed(alpha: float) -> int:
    """Return how many held-out normals it takes to flag anything at a false-alarm rate.

    Examples
    --------
    >>> normals_needed(0.05)
    19
    """
    return math.ceil(min((1 - _ROUNDING) / alpha, _MOST_NORMALS)) - 1


@dataclass(frozen=True)
class Calibration:
    """Scores of normals that the model was not fitted on, and what follows from them.

    Parameters
    ----------
    scores : ndarray of shape (n,), float64
        Anomaly scores of held-out normals, ascending.
    alpha : float
        Target false-alarm rate: the expected share of normals that are flagged, in (0, 1).
    source : str
        Where the scores come from.
    """

    scores: NDArray[np.float64]
    alpha: float
    source: str

    def __post_init__(self) -> None:
        """Refuse what cannot calibrate, such as values of a damaged model file."""
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must lie in (0, 1); got {self.alpha!r}")
        if self.scores.ndim != 1 or not np.isfinite(self.scores).all() or (np.diff(self.scores) < 0).any():
            raise ValueError("calibration scores must be finite numbers in ascending order")

    @property
    def resolution(self) -> float:
        """Smallest p-value that can occur, 1 / (n + 1)."""
        return 1 / (len(self.scores) + 1)

    @property
    def rank(self) -> int:
        """Which of the normals, counted from the highest score, is the threshold; 0 where there are too few."""
        n = len(self.scores)
        return min(int(self.alpha * (n + 1) + _ROUNDING), n)

    @property
    def threshold(self) -> float:
        """Score above which an image is flagged; infinite where too few normals allow no flag at this alpha."""
        return float(self.scores[-self.rank]) if self.rank else float("inf")

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tell how often a normal scores at least as high.

        Parameters
        ----------
        scores : ndarray of shape (m,)
            Anomaly scores.

        Returns
        -------
        ndarray of shape (m,)
            In [1 / (n + 1), 1]. A held-out normal that equals the score counts as at least as high. NaN stays NaN.
        """
        as_high = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        return np.where(np.isnan(scores), np.nan, (as_high + 1) / (len(self.scores) + 1))

    def flagged(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which scores of shape (m,) lie above the threshold: those with p-value <= alpha."""
        return scores > self.threshold


@dataclass(frozen=True)
class CrossFit:
    """Normals scored by scorers that have not seen them.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Normals. Runs of five neighbours and more, often of one patient, stay in one fold.
    fit : callable
        Makes a scorer from rows.
    groups : ndarray of shape (n,), int, optional
        Numbers from 0; rows of one number stay in one fold instead of runs.
    """

    rows: FloatArray
    fit: Fit
    groups: IndexArray | None = None

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Held-out scores in the order of the rows; none where holding out would leave fewer than two rows."""
        if len(self.rows) < 3:
            return np.empty(0)
        scores = np.empty(len(self.rows))

        def hold_out(fold: IndexArray) -> None:
            scores[fold] = self.fit(np.delete(self.rows, fold, axis=0)).score(self.rows[fold])

        with single_threaded_products():
            deque(in_order(hold_out, folds(len(self.rows), self.groups)), maxlen=0)
        return scores


def folds(n: int, groups: IndexArray | None = None) -> Iterator[IndexArray]:
    """Deal the row numbers 0..n-1 in groups, or in runs of neighbours, to at most ten folds.

    Runs keep the images of a patient together; dealing keeps a fold from being one source of images.
    """
    if groups is None:
        n_folds = min(N_FOLDS, n)
        run = min(max(SHORTEST_RUN, n // 100), n // n_folds)
        groups = np.arange(n) // run
    else:
        n_folds = min(N_FOLDS, int(groups.max()) + 1)
    for number in range(n_folds):
        yield np.flatnonzero(groups % n_folds == number)


def grouped(n: int, volumes: Sequence[Sequence[int]]) -> IndexArray:
    """Give rows the numbers of the volumes that they belong to; the others are runs of neighbours.

    Parameters
    ----------
    n : int
        Number of rows.
    volumes : sequence of sequences of int
        Row numbers; a row of several volumes is taken for the first's.

    Returns
    -------
    ndarray of shape (n,), int
        From 0, none left out.
    """
    groups = np.full(n, -1)
    for number in reversed(range(len(volumes))):
        groups[np.asarray(volumes[number], dtype=np.intp)] = number
    alone = np.flatnonzero(groups < 0)
    groups[alone] = len(volumes) + np.arange(len(alone)) // SHORTEST_RUN
    return np.unique(groups, return_inverse=True)[1]
