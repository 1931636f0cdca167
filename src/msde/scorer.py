"""What a fitted detector leaves behind: frozen arrays that score embeddings, with NumPy alone.

A scorer is all that a saved model needs; the estimators in :mod:`msde.estimators` make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from msde.density import Weighting, density_weights
from msde.gaussian import Gaussian
from msde.neighbors import FloatArray
from msde.shift import shift


class Scorer(Protocol):
    """Anything that gives embeddings an anomaly score; `batchwise` where a score depends on the batch."""

    batchwise: ClassVar[bool]

    def score(self, rows: FloatArray) -> NDArray[np.float64]:
        """Score embeddings of shape (m, d); return (m,), higher is more abnormal."""


@dataclass(frozen=True)
class Standardizer:
    """Bring each feature to mean 0 and deviation 1, as measured on the normals.

    Parameters
    ----------
    mean, deviation : ndarray of shape (d,)
        Of the training normals; a feature without deviation is only centred.
    """

    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def fit(cls, rows: FloatArray) -> Standardizer:
        """Measure mean and population deviation of rows of shape (n, d)."""
        mean = rows.mean(axis=0, dtype=np.float64)
        deviation = rows.std(axis=0, dtype=np.float64)
        # Equal values can leave a deviation of rounding size, which must not be blown up to 1.
        still = deviation <= 10 * np.finfo(rows.dtype).eps * np.abs(mean)
        return cls(mean.astype(rows.dtype), np.where(still, 1, deviation).astype(rows.dtype))

    def apply(self, rows: FloatArray) -> FloatArray:
        """Standardise rows of shape (m, d)."""
        return (rows - self.mean) / self.deviation


@dataclass(frozen=True)
class InductiveScorer:
    """Score each row alone against the normals, as they lie.

    Parameters
    ----------
    standardizer : Standardizer
        Of the training normals.
    gaussian : Gaussian
        Of the standardised normals.
    """

    batchwise: ClassVar[bool] = False

    standardizer: Standardizer
    gaussian: Gaussian

    def score(self, rows: FloatArray) -> NDArray[np.float64]:
        """Score embeddings of shape (m, d) by Mahalanobis distance; each row by itself."""
        return self.gaussian.mahalanobis(self.standardizer.apply(rows))


@dataclass(frozen=True)
class TransductiveScorer:
    """Shift normals and scored rows together, then measure the scored rows (the published procedure).

    A row's score depends on the rows that it is scored with.

    Parameters
    ----------
    standardizer : Standardizer
        Of the training normals.
    gaussian : Gaussian
        Of the normals shifted by themselves.
    normals : ndarray of shape (n, d)
        Standardised training normals.
    weighting, n_neighbors, learning_rate, max_iter, tol
        As in :func:`msde.shift.shift` and :func:`msde.density.density_weights`.
    """

    batchwise: ClassVar[bool] = True

    standardizer: Standardizer
    gaussian: Gaussian
    normals: FloatArray
    weighting: Weighting
    n_neighbors: int
    learning_rate: float
    max_iter: int
    tol: float

    def score(self, rows: FloatArray) -> NDArray[np.float64]:
        """Score a batch of embeddings of shape (m, d) by Mahalanobis distance after the joint shift."""
        union = np.vstack([self.normals, self.standardizer.apply(rows)])
        _, shifted, _ = shift(
            union,
            density_weights(union, self.weighting),
            n_neighbors=self.n_neighbors,
            learning_rate=self.learning_rate,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        return self.gaussian.mahalanobis(shifted[len(self.normals) :])


SCORERS: dict[str, type] = {"inductive": InductiveScorer, "transductive": TransductiveScorer}


def batch_probability(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn the scores of a batch into the published output: the sigmoid of their z-score within the batch.

    Parameters
    ----------
    scores : ndarray of shape (m,)
        Anomaly scores of one batch.

    Returns
    -------
    ndarray of shape (m,)
        In (0, 1); 0.5 for a batch of one.
    """
    deviation = scores.std()
    return np.asarray(1 / (1 + np.exp(-(scores - scores.mean()) / (deviation if deviation > 0 else 1))))
