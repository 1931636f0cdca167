"""A Gaussian as a centre and a whitening, and how it is fitted.

The published scorer is a PCA to at most 256 axes with an empirical covariance (arXiv 2604.19191, "Gaussian density
estimation"); the other is the Ledoit-Wolf covariance of MedIAnomaly's two-stage baseline (arXiv 2404.04518).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.neighbors import FloatArray

RIDGE = 1e-4
MAX_COMPONENTS = 256


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian density by its centre and a whitening of the space around it.

    Parameters
    ----------
    mean : ndarray of shape (d,), float64
        Centre.
    whitening : ndarray of shape (d, p), float64
        Maps an offset from the centre to p uncorrelated axes of unit variance.
    """

    mean: NDArray[np.float64]
    whitening: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what measures no distance, such as values of a damaged model file."""
        if self.mean.ndim != 1 or self.whitening.ndim != 2 or len(self.mean) != len(self.whitening):
            raise ValueError("mean and whitening of a Gaussian must have shapes (d,) and (d, p)")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.whitening).all()):
            raise ValueError("mean and whitening of a Gaussian must be finite")

    def mahalanobis(self, rows: FloatArray) -> NDArray[np.float64]:
        """Measure the Mahalanobis distance of each row from the centre.

        Parameters
        ----------
        rows : ndarray of shape (m, d)
            Embeddings.

        Returns
        -------
        ndarray of shape (m,), float64
            Distances, at least 0.
        """
        white = (rows - self.mean) @ self.whitening
        return np.sqrt(np.einsum("ij,ij->i", white, white))


def fit_empirical(rows: FloatArray, max_components: int = MAX_COMPONENTS, ridge: float = RIDGE) -> Gaussian:
    """Fit the published Gaussian: leading principal axes, empirical variances, a ridge.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Normals.
    max_components : int, default=256
        Axes kept: min(max_components, d, n - 1), at least one.
    ridge : float, default=1e-4
        Added to each variance.

    Returns
    -------
    Gaussian
    """
    n, d = rows.shape
    mean = rows.mean(axis=0, dtype=np.float64)
    kept = max(1, min(max_components, d, n - 1))
    variances, axes = _principal_axes(rows - mean)
    return Gaussian(mean, axes[:, :kept] / np.sqrt(variances[:kept] + ridge))


def fit_ledoit_wolf(rows: FloatArray) -> Gaussian:
    """Fit a Gaussian with the Ledoit-Wolf covariance, over all axes.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Normals.

    Returns
    -------
    Gaussian
    """
    return fit_shrunk(rows)[0]


def fit_shrunk(rows: FloatArray) -> tuple[Gaussian, float]:
    """Fit a Gaussian with the Ledoit-Wolf covariance to rows (n, d); return it and its shrinkage, in [0, 1]."""
    from scipy.linalg.lapack import dtrtri
    from sklearn.covariance import ledoit_wolf

    mean = rows.mean(axis=0, dtype=np.float64)
    covariance, shrinkage = ledoit_wolf(rows - mean, assume_centered=True)
    # Two rows, or rows that are all alike, leave axes without variance; the ridge keeps the distance finite there.
    covariance.flat[:: len(covariance) + 1] += 1e-9 * np.trace(covariance) / len(covariance) + np.finfo(np.float64).eps
    # The inverse of a triangle takes a sixth of the work of a general one.
    inverse, _ = dtrtri(np.linalg.cholesky(covariance), lower=1)
    return Gaussian(mean, np.ascontiguousarray(inverse.T)), float(shrinkage)


def _principal_axes(offsets: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give variances, descending, and axes as columns, by whichever way is the smaller problem."""
    n, d = offsets.shape
    if n < d:
        _, spread, axes = np.linalg.svd(offsets, full_matrices=False)
        return spread**2 / max(n - 1, 1), axes.T
    variances, axes = np.linalg.eigh(offsets.T @ offsets / max(n - 1, 1))
    return np.maximum(variances[::-1], 0), axes[:, ::-1]
