"""Sums over rows that are enough for a shrunk Gaussian and can be added up: one pass over any number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray
from msde.method.gaussian import Gaussian, shrunk


@dataclass(frozen=True)
class Moments:
    """Sums over n standardised rows x of d features, about the origin.

    Standardised rows lie around the origin, so nothing is lost to cancellation that matters at float64.
    """

    n: int
    first: NDArray[np.float64]  # (d,): of x
    second: NDArray[np.float64]  # (d, d): of x x'
    third: NDArray[np.float64]  # (d,): of |x|^2 x
    fourth: float  # of |x|^4

    @classmethod
    def of(cls, rows: FloatArray) -> Self:
        """Add up rows of shape (n, d); n may be 0."""
        x = rows.astype(np.float64, copy=False)
        squares = np.einsum("ij,ij->i", x, x)
        return cls(len(x), x.sum(axis=0), x.T @ x, squares @ x, float(squares @ squares))

    def __add__(self, other: Moments) -> Moments:
        """Put two sets of rows together."""
        return Moments(*(one + two for one, two in zip(vars(self).values(), vars(other).values(), strict=True)))

    def gaussian(self) -> Gaussian:
        """Fit the Gaussian that :func:`msde.method.gaussian.fit_ledoit_wolf` fits to the rows, up to rounding.

        The fourth moment about the mean is expanded into those about the origin.
        """
        mean = self.first / self.n
        covariance = self.second / self.n - np.outer(mean, mean)
        length = mean @ mean
        # Sum of |x - mean|^4, with sum of |x|^2 and of (x'mean) taken from the lower moments.
        squares, along = np.trace(self.second), self.first @ mean
        fourth = (
            self.fourth
            + 4 * (mean @ self.second @ mean)
            + self.n * length**2
            + 2 * length * squares
            - 4 * (self.third @ mean)
            - 4 * length * along
        )
        return shrunk(mean, covariance, self.n, float(fourth))[0]
