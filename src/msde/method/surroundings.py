"""How like the labelled abnormals normals in the surroundings of a row are.

Normals of another machine or modality than the others may be more like the labels than these, or more unevenly so,
whether they are ill or not. So a likeness is set against those of the normals near by, seen along the two main axes of
the normals, where such differences are largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.gaussian import Gaussian
from msde.method.neighbors.exact import ExactIndex

N_AXES = 2
NEIGHBORS = 50
LARGEST_SHARE = 3  # of few normals a third is near
FLOOR = 0.1  # of the variance of all likenesses, beside that of the near ones


@dataclass(frozen=True)
class Surroundings:
    """Where normals lie along their main axes.

    Parameters
    ----------
    centre : ndarray of shape (d,), float64
        Mean of the standardised normals.
    axes : ndarray of shape (d, a), float64
        Orthogonal, of unit length.
    places : ndarray of shape (n, a), float64
        Of the normals along the axes.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    places: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what gives no places, such as values of a damaged model file."""
        if self.axes.ndim != 2 or self.places.ndim != 2 or self.centre.shape != self.axes.shape[:1]:
            raise ValueError("surroundings need a centre (d,), axes (d, a) and places (n, a)")
        if self.places.shape[1] != self.axes.shape[1] or not len(self.places):
            raise ValueError("surroundings need a place along each axis, of at least one normal")
        if not all(np.isfinite(array).all() for array in (self.centre, self.axes, self.places)):
            raise ValueError("surroundings must be finite")

    @classmethod
    def of(cls, normals: FloatArray, gaussian: Gaussian) -> Self:
        """Learn from standardised normals (n, d), and the Gaussian that `fit_ridged` fits to them."""
        main = gaussian.whitening[:, -N_AXES:]  # columns ascend by variance
        axes = main / np.linalg.norm(main, axis=0)
        return cls(gaussian.mean, axes, (normals - gaussian.mean) @ axes)

    def near(self, rows: FloatArray) -> IndexArray:
        """Give the numbers of the normals near each standardised row (m, d): (m, 50), or of few normals a third."""
        return ExactIndex.build(self.places).query_distances((rows - self.centre) @ self.axes, self.n_near)[1]

    @property
    def n_near(self) -> int:
        """How many normals are near: 50, or of few normals a third."""
        return max(1, min(NEIGHBORS, len(self.places) // LARGEST_SHARE))


def relative(likeness: NDArray[np.float64], of_near: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    """Set likenesses (m,) against those of normals near by, (m, k), in their deviations.

    Parameters
    ----------
    likeness : ndarray of shape (m,)
    of_near : ndarray of shape (m, k)
        Of held-out normals.
    variance : float
        Of the likeness of all held-out normals, a tenth of which keeps few that are alike from counting for much.
    """
    spread = np.sqrt(np.maximum(FLOOR * variance + of_near.var(axis=1), np.finfo(np.float64).tiny))
    return np.asarray((likeness - of_near.mean(axis=1)) / spread)
