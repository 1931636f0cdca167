"""What labels tell of a row: likeness to them, and the log odds of a discriminant, as one.

Likeness serves from the first label on. Of few labels a discriminant is mostly noise, of many it knows more; then what
both tell counts for more, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.discriminant import Discriminant
from msde.method.labelled_abnormals import SLOPE, deviation

DISCRIMINATING_AFTER = 20
STEEPER = 0.5


@dataclass(frozen=True)
class Weighing:
    """How likeness and log odds count, each in deviations of held-out normals.

    Parameters
    ----------
    likeness_mean, likeness_deviation, odds_mean, odds_deviation : float
        Of held-out normals, each against the normals near by.
    share : float
        Of the log odds, in [0, 1).
    """

    likeness_mean: float
    likeness_deviation: float
    odds_mean: float
    odds_deviation: float
    share: float

    def __post_init__(self) -> None:
        """Refuse what weighs nothing, such as values of a damaged model file."""
        if not (np.isfinite((self.likeness_mean, self.odds_mean, self.share)).all() and 0 <= self.share < 1):
            raise ValueError("a weighing needs finite means and a share in [0, 1)")
        if not (0 < self.likeness_deviation < np.inf and 0 < self.odds_deviation < np.inf):
            raise ValueError("the deviations of a weighing must be finite and above 0")

    @classmethod
    def fit(
        cls,
        likeness: NDArray[np.float64],
        odds: NDArray[np.float64],
        n_patients: int,
        discriminating_after: float = DISCRIMINATING_AFTER,
    ) -> Self:
        """Learn from held-out normals (n,); the discriminant counts half after so many labelled patients."""
        share = 1 / (1 + (discriminating_after / n_patients) ** 2)
        return cls(float(likeness.mean()), deviation(likeness), float(odds.mean()), deviation(odds), share)

    def slope(self, usual: float = SLOPE) -> float:
        """Return the slope of the blend, the larger the more the discriminant counts."""
        return usual + STEEPER * self.share

    def of(self, likeness: NDArray[np.float64], odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weigh likenesses and log odds, (m,)."""
        like = (likeness - self.likeness_mean) / self.likeness_deviation
        told = (odds - self.odds_mean) / self.odds_deviation
        return np.asarray((1 - self.share) * like + self.share * told)


@dataclass(frozen=True)
class WeighedDiscriminant:
    """A discriminant beside the likeness.

    Parameters
    ----------
    fitted : Discriminant
    usual : ndarray of shape (n,), float64
        Its log odds of the normals of the surroundings, held out.
    weighing : Weighing
    """

    fitted: Discriminant
    usual: NDArray[np.float64]
    weighing: Weighing

    def __post_init__(self) -> None:
        """Refuse log odds that are none, such as of a damaged model file."""
        if not (self.usual.ndim == 1 and np.isfinite(self.usual).all()):
            raise ValueError("log odds of normals must be finite numbers (n,)")

    def of(self, likeness: NDArray[np.float64], standard: FloatArray, near: IndexArray) -> NDArray[np.float64]:
        """Weigh likenesses (m,) and the log odds of standardised rows (m, d), less the mean of the normals near by."""
        return self.weighing.of(likeness, self.fitted.of(standard) - self.usual[near].mean(axis=1))
