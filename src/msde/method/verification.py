"""Verification bias: which of the images that came in were looked at, and what those stand for.

Whoever looks at flagged images alone sees false alarms alone, and figures from what was seen say nothing of the rest.
Where some images of each p-value were looked at, each stands for those like it that were not: weights by the inverse of
the probability of being looked at (Begg and Greenes, "Assessment of diagnostic tests when disease verification is
subject to selection bias", Biometrics 39:207, 1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
FEWEST = 5
_ROUNDING = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Verification:
    """How many images came in, and how many of them were looked at, by strata of their p-values.

    Parameters
    ----------
    edges : ndarray of shape (s,), float64
        Upper ends of the strata, ascending to 1; the threshold is one of them.
    came, looked_at : ndarray of shape (s,), int
        Images in each, and those of them that were looked at.
    alpha : float
        Largest p-value that is flagged.
    """

    edges: Floats
    came: NDArray[np.intp]
    looked_at: NDArray[np.intp]
    alpha: float

    @classmethod
    def of(cls, looked_at: Floats, others: Floats, alpha: float) -> Self:
        """Count images by strata, each with at least five that were looked at where there are so many.

        A stratum lies on one side of the threshold.

        Parameters
        ----------
        looked_at, others : ndarray of shape (m,) and (n,)
            P-values of the images that were looked at, and of the others that came in.
        alpha : float
            Largest p-value that is flagged, in (0, 1).
        """
        edges = np.unique([*EDGES, alpha])
        looked, rest = (_counts(edges, values) for values in (looked_at, others))
        kept: list[int] = []  # strata that are closed, by their last edge
        side = 0  # number of those that are below the threshold
        since = 0
        for number, edge in enumerate(edges):
            since += int(looked[number])
            ends = edge in (alpha, edges[-1])
            if since < FEWEST and not ends:
                continue
            if since < FEWEST and len(kept) > side:  # what is left joins the stratum before it
                kept.pop()
            kept.append(number)
            since = 0
            if ends:
                side = len(kept)
        starts = [0, *(number + 1 for number in kept[:-1])]
        came = np.add.reduceat(looked + rest, starts)
        return cls(edges[kept], came, np.add.reduceat(looked, starts), alpha)

    @property
    def flagged(self) -> tuple[int, int]:
        """How many flagged images were looked at, and how many came in."""
        return self._side(self.edges <= self.alpha)

    @property
    def unflagged(self) -> tuple[int, int]:
        """How many images below the threshold were looked at, and how many came in."""
        return self._side(self.edges > self.alpha)

    @property
    def covers_all(self) -> bool:
        """Whether those that were looked at stand for all that came in: none did where none below the threshold was."""
        every = bool((self.looked_at[self.came > 0] > 0).all())
        return every and self.unflagged[0] > 0

    def weights(self, p_values: Floats) -> Floats:
        """Tell how many images that came in each one that was looked at stands for, (m,), at least 1."""
        stratum = _strata(self.edges, p_values)
        return np.asarray(self.came[stratum] / np.maximum(self.looked_at[stratum], 1))

    def _side(self, chosen: NDArray[np.bool_]) -> tuple[int, int]:
        return int(self.looked_at[chosen].sum()), int(self.came[chosen].sum())


def effective_number(weights: Floats, units: NDArray[np.intp]) -> float:
    """Return how many units alike the weighted ones are worth (Kish, Survey Sampling, 1965, section 11.7).

    Parameters
    ----------
    weights : ndarray of shape (m,)
        Of images, at least 0.
    units : ndarray of shape (m,), int
        Number of the patient of each, at least 0.
    """
    sums = np.bincount(units, weights)
    squares = float(sums @ sums)
    return float(sums.sum()) ** 2 / squares if squares else 0.0


def _strata(edges: Floats, p_values: Floats) -> NDArray[np.intp]:
    return np.minimum(np.searchsorted(edges + _ROUNDING, p_values), len(edges) - 1)


def _counts(edges: Floats, p_values: Floats) -> NDArray[np.intp]:
    return np.bincount(_strata(edges, p_values), minlength=len(edges))
