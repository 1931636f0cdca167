"""One score and one p-value for all images of a patient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import IndexArray
from msde.method.volume_score import volume_score, volume_scores

N_DRAWS = 32
LEAST_SHARE = 0.5
_SEED = 17
_ROUNDING = 1e-9


@dataclass(frozen=True)
class PatientCalibration:
    """Held-out scores of normal patients' images, and what follows from them for new patients.

    A patient's score is :func:`msde.method.volume_score.volume_score` of all images, which grows with their number. So
    patients are compared by equally many images: a new patient with m of them is compared with the patients of the
    calibration that have at least as many, scored by random draws of m of theirs. Where these are too few, m is lowered
    until they are half of the patients and enough to flag any, and the new patient is scored by draws too.

    Parameters
    ----------
    scores : ndarray of shape (n,), float64
        Of held-out images.
    groups : ndarray of shape (n,), int
        Number of each image's patient.
    alpha : float
        Target false-alarm rate: the expected share of normal patients that is flagged, in (0, 1).
    source : str
        Where the scores come from.

    Notes
    -----
    With one draw a patient the p-value would be conformal, whatever relates the images of a patient: patients are taken
    to be exchangeable given how many images they have, and so are draws of as many of theirs. The mean over draws takes
    the noise away. A new patient's own draws vary less than one draw does, so fewer than alpha are flagged there.
    """

    scores: NDArray[np.float64]
    groups: IndexArray
    alpha: float
    source: str

    def __post_init__(self) -> None:
        """Refuse what cannot calibrate, such as values of a damaged model file."""
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must lie in (0, 1); got {self.alpha!r}")
        if self.scores.ndim != 1 or not len(self.scores) or not np.isfinite(self.scores).all():
            raise ValueError("the patients' calibration scores must be finite numbers, at least one")
        if self.groups.shape != self.scores.shape or self.groups.dtype.kind not in "iu":
            raise ValueError("the patients' calibration scores must each have the number of a patient")

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self._patients)

    @property
    def resolution(self) -> float:
        """Smallest p-value that can occur, for a patient of one image."""
        return 1 / (self.n_patients + 1)

    def p_value(self, scores: NDArray[np.float64]) -> float:
        """Tell how often a normal patient scores at least as high by as many images.

        Parameters
        ----------
        scores : ndarray of shape (m,)
            Of all images of one patient, at least one.

        Returns
        -------
        float
            In [1 / (k + 1), 1] for k patients that have enough images; NaN where a score is.
        """
        if np.isnan(scores).any():
            return math.nan
        size = min(len(scores), self._most_compared)
        if size not in self._by_size:
            rng, compared = np.random.default_rng((_SEED, size)), (one for one in self._patients if len(one) >= size)
            self._by_size[size] = np.sort(np.concatenate([_drawn(one, size, rng) for one in compared]))
        found = self._by_size[size]
        value = float(_drawn(np.sort(scores), size, np.random.default_rng(_SEED)).mean())
        as_high = len(found) - np.searchsorted(found, value - _ROUNDING * abs(value), side="left")
        return float((N_DRAWS + as_high) / (N_DRAWS + len(found)))

    def flagged(self, p_value: float) -> bool:
        """Tell whether a patient with this p-value is flagged."""
        return p_value <= self.alpha * (1 + _ROUNDING)

    @cached_property
    def _patients(self) -> list[NDArray[np.float64]]:
        """The scores of each patient, ascending; patients are in an order that their names do not change."""
        order = np.lexsort((self.scores, self.groups))
        starts = np.flatnonzero(np.diff(self.groups[order])) + 1
        return sorted(np.split(self.scores[order], starts), key=tuple)

    @cached_property
    def _most_compared(self) -> int:
        """How many images of a patient are compared at most."""
        largest_first = -np.sort([-len(one) for one in self._patients])
        needed = max(math.ceil(LEAST_SHARE * self.n_patients), math.ceil(1 / self.alpha - _ROUNDING) - 1)
        return int(largest_first[min(needed, self.n_patients) - 1])

    @cached_property
    def _by_size(self) -> dict[int, NDArray[np.float64]]:
        return {}


def _drawn(scores: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Score draws of so many of a patient's images, given in ascending order, or all where there are no more; (32,)."""
    if len(scores) <= size:
        return np.full(N_DRAWS, volume_score(scores))
    chosen = rng.permuted(np.tile(np.arange(len(scores)), (N_DRAWS, 1)), axis=1)[:, :size]
    return volume_scores(scores[chosen])
