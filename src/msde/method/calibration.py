"""Conformal p-values and thresholds from held-out normals, with groups of images as units.

Sources: Bates, Candès, Lei, Romano, Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 51:149,
2023, sections 2 and 4; Vovk, "Conditional validity of inductive conformal predictors", ACML 2012, for the Beta
distribution of the false-alarm rate. docs/guarantees.md says what is exact here and what is not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

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


def normals_needed(alpha: float, confidence: float | None = None) -> int:
    """Return how many held-out normals, each alone, it takes to flag anything at a false-alarm rate.

    With a confidence it is as many as hold the rate with that probability.

    Examples
    --------
    >>> normals_needed(0.05)
    19
    """
    if confidence is None:
        return math.ceil(min((1 - _ROUNDING) / alpha, _MOST_NORMALS)) - 1
    return math.ceil(min(math.log(1 - confidence) / math.log1p(-alpha) - _ROUNDING, _MOST_NORMALS))


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
    groups : ndarray of shape (n,), int, optional
        Number of the group, such as a patient, that each score belongs to, at least 0; by default each stands alone.
    confidence : float, optional
        Probability, in (0, 1), with which this model's own false-alarm rate is to be at most alpha; by default it is
        alpha on average over models.
    """

    scores: NDArray[np.float64]
    alpha: float
    source: str
    groups: IndexArray | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot calibrate, such as values of a damaged model file."""
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must lie in (0, 1); got {self.alpha!r}")
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise ValueError(f"the confidence of a calibration must lie in (0, 1); got {self.confidence!r}")
        if self.scores.ndim != 1 or not np.isfinite(self.scores).all() or (np.diff(self.scores) < 0).any():
            raise ValueError("calibration scores must be finite numbers in ascending order")
        if self.groups is not None and (
            self.groups.shape != self.scores.shape or self.groups.dtype.kind not in "iu" or (self.groups < 0).any()
        ):
            raise ValueError("groups of calibration scores must be a number for each, at least 0")

    @classmethod
    def of(
        cls,
        scores: NDArray[np.float64],
        alpha: float,
        source: str,
        groups: IndexArray | None = None,
        confidence: float | None = None,
    ) -> Self:
        """Calibrate on scores in any order; the parameters are those of the class."""
        order = np.argsort(scores, kind="stable")
        return cls(scores[order], alpha, source, None if groups is None else groups[order], confidence)

    @property
    def n_units(self) -> int:
        """Number of groups, or of scores where each stands alone."""
        return len(self.scores) if self.groups is None else len(np.unique(self.groups))

    @property
    def resolution(self) -> float:
        """Smallest p-value that can occur; 1 / (n + 1) where each score stands alone and no confidence is asked."""
        return float(self.levels[0])

    @property
    def threshold(self) -> float:
        """Score above which an image is flagged; infinite where too few normals allow no flag at this alpha."""
        return float(self.scores[-self.rank]) if self.rank else float("inf")

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tell how often a normal of a new group scores at least as high.

        Where scores stand alone this is the conformal p-value. Where they come in groups, a p-value is the share of
        held-out images that the same rank would flag if it were taken among the scores of the other groups: a group
        that holds the highest ranks then speaks once. With a confidence it is what this share is at most, with that
        probability, for each threshold by itself (Bates et al., section 4, bound all thresholds at once).

        Parameters
        ----------
        scores : ndarray of shape (m,)
            Anomaly scores.

        Returns
        -------
        ndarray of shape (m,)
            In [resolution, 1]. A held-out normal that equals the score counts as at least as high. NaN stays NaN.
        """
        as_high = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        return np.where(np.isnan(scores), np.nan, self.levels[as_high])

    def flagged(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which scores of shape (m,) lie above the threshold: those with p-value <= alpha."""
        return scores > self.threshold

    def far_range(self, coverage: float = 0.9) -> tuple[float, float]:
        """Tell between which rates this model's own false-alarm rate lies, in the middle of its distribution.

        Parameters
        ----------
        coverage : float, default=0.9
            Probability of the range, in (0, 1): 0.9 reaches from the 5 % to the 95 % quantile.

        Returns
        -------
        float, float
            Of the distribution Beta(r, n + 1 - r), with n units and r of them above the threshold. Exact where held-out
            scores stand alone; with groups it is that of images as alike as one image, so the true range is narrower.
        """
        if not self.rank:
            return 0.0, 0.0
        expected = self._expected[self.rank - 1 : self.rank]
        low, high = (float(_beta(expected, self.n_units, tail)[0]) for tail in ((1 - coverage) / 2, (1 + coverage) / 2))
        return low, high

    @property
    def next_useful(self) -> int:
        """Smallest larger number of units at which one more may be flagged: 20 k - 1 at an alpha of .05."""
        flags = int(self.alpha * (self.n_units + 1) + _ROUNDING)
        return int(np.ceil((flags + 1) / self.alpha - _ROUNDING)) - 1

    @property
    def rank(self) -> int:
        """How many held-out scores reach the threshold; 0 where there are too few for one."""
        rank = int(np.searchsorted(self.levels, self.alpha * (1 + _ROUNDING), side="right"))
        return min(rank, len(self.scores))

    @cached_property
    def levels(self) -> NDArray[np.float64]:
        """The p-value where 0, 1, ..., n held-out scores are at least as high."""
        return self._expected if self.confidence is None else _beta(self._expected, self.n_units, self.confidence)

    @cached_property
    def _expected(self) -> NDArray[np.float64]:
        """The share of normals of new groups expected above the scores that 0, 1, ..., n held-out ones reach."""
        n = len(self.scores)
        ranks = np.arange(1, n + 2)
        if self.groups is None:
            return ranks / (n + 1)
        flagged = np.maximum(
            np.searchsorted(_above_in_other_groups(self.scores, self.groups), ranks, side="left"), ranks
        )
        shares = np.minimum(flagged / (n + n / self.n_units), 1) if n else np.ones(1)
        shares[n] = 1
        return shares


def _above_in_other_groups(scores: NDArray[np.float64], groups: IndexArray) -> IndexArray:
    """Count the scores of other groups that are at least as high as each of the ascending scores; sort the counts."""
    above = len(scores) - np.searchsorted(scores, scores, side="left")
    order = np.argsort(groups, kind="stable")  # within a group the scores go on ascending
    _, firsts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    begins = np.diff(scores[order], prepend=np.nan) != 0
    begins[firsts] = True
    above[order] -= np.repeat(firsts + sizes, sizes) - np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    return np.sort(above)


def _beta(shares: NDArray[np.float64], n: int, probability: float) -> NDArray[np.float64]:
    """Give the quantile of the false-alarm rates whose means are these shares, with n calibration units."""
    from scipy.special import betaincinv  # not before a range is asked for: scoring does without SciPy

    below = np.minimum(shares, 1 - np.finfo(np.float64).eps)
    return np.where(shares < 1, betaincinv(below * (n + 1), (1 - below) * (n + 1), probability), 1.0)


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


def runs(n: int) -> IndexArray:
    """Return the number of the run of neighbours that each of n rows is in, where nothing is known of groups.

    A tenth of the rows keeps patients together well enough on most of sixteen sets
    (benchmarks/unknown_groups.py, docs/guarantees.md).
    """
    return np.arange(n) * min(N_FOLDS, n) // max(n, 1)


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
