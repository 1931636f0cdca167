"""A direction that tells labelled abnormal rows from normals: logistic regression with a ridge.

Likeness to the labels knows nothing of what the normals have in common with them; this does, and the more labels there
are, the better. Alone it forgets abnormal rows of other kinds and takes other machines for disease, so it is evidence
beside the likeness, see :mod:`msde.method.labelled_abnormals`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray

RIDGE = 4.0
_EXACT = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}


@dataclass(frozen=True)
class Discriminant:
    """How far rows lie towards the labelled ones.

    Parameters
    ----------
    weights : ndarray of shape (d,), float64
    intercept : float
        Log odds of a row at the origin, were abnormal rows as frequent as normals.
    """

    weights: NDArray[np.float64]
    intercept: float

    def __post_init__(self) -> None:
        """Refuse what tells nothing, such as values of a damaged model file."""
        if self.weights.ndim != 1 or not np.isfinite(self.weights).all() or not np.isfinite(self.intercept):
            raise ValueError("a discriminant needs finite weights (d,) and a finite intercept")

    @classmethod
    def fit(cls, normals: FloatArray, abnormal: FloatArray, ridge: float = RIDGE) -> Self:
        """Learn from standardised normals (n, d) and labelled rows (k, d), at least one of each.

        Minimised is the mean of the logistic losses of both classes plus half the ridge times the squared length of the
        weights.
        """
        from scipy.optimize import minimize

        rows = np.vstack([normals, abnormal]).astype(np.float64)
        centre = rows.mean(axis=0)
        rows -= centre
        sides = np.repeat([-1.0, 1.0], [len(normals), len(abnormal)])
        shares = np.repeat([0.5 / len(normals), 0.5 / len(abnormal)], [len(normals), len(abnormal)])

        def loss(numbers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weights, intercept = numbers[:-1], numbers[-1]
            margins = sides * (rows @ weights + intercept)
            slopes = -shares * sides * np.exp(-np.logaddexp(0, margins))
            value = shares @ np.logaddexp(0, -margins) + ridge * weights @ weights / 2
            return float(value), np.append(slopes @ rows + ridge * weights, slopes.sum())

        found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B", options=_EXACT).x
        return cls(found[:-1], float(found[-1] - centre @ found[:-1]))

    def of(self, rows: FloatArray) -> NDArray[np.float64]:
        """Compute the log odds of standardised rows (m, d), (m,)."""
        return np.asarray(rows @ self.weights + self.intercept, dtype=np.float64)
