"""A Gaussian as a centre and a whitening, and how it is fitted.

The published scorer is a PCA to at most 256 axes with an empirical covariance (arXiv 2604.19191, "Gaussian density
estimation"); the other is the Ledoit-Wolf covariance of MedIAnomaly's two-stage baseline (arXiv 2404.04518).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray

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
    outside : float, default=0
        One over the variance in every direction that the p axes leave out, at least 0; 0 ignores these directions.
        Other than 0 only where the columns of `whitening` are orthogonal and none is 0.
    """

    mean: NDArray[np.float64]
    whitening: NDArray[np.float64]
    outside: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what measures no distance, such as values of a damaged model file."""
        if self.mean.ndim != 1 or self.whitening.ndim != 2 or len(self.mean) != len(self.whitening):
            raise ValueError("mean and whitening of a Gaussian must have shapes (d,) and (d, p)")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.whitening).all()):
            raise ValueError("mean and whitening of a Gaussian must be finite")
        if not 0 <= self.outside < np.inf:
            raise ValueError("the precision outside the axes of a Gaussian must be a finite number, at least 0")
        if self.outside and not (self._lengths > 0).all():
            raise ValueError("an axis of a Gaussian has no length")

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
        offsets = rows - self.mean
        white = offsets @ self.whitening
        squared = np.einsum("ij,ij->i", white, white)
        if self.outside:
            along = white / self._lengths
            left = np.einsum("ij,ij->i", offsets, offsets) - np.einsum("ij,ij->i", along, along)
            squared += self.outside * np.maximum(left, 0)
        return np.sqrt(squared)

    def contributions(self, rows: FloatArray) -> NDArray[np.float64]:
        """Tell what each feature adds to the squared Mahalanobis distance of rows.

        Parameters
        ----------
        rows : ndarray of shape (m, d)
            Embeddings.

        Returns
        -------
        ndarray of shape (m, d), float64
            Their sum over the features is the squared distance. Those of correlated features may be below 0.
        """
        return np.asarray((rows - self.mean) * self.gradient(rows))

    def gradient(self, rows: FloatArray) -> NDArray[np.float64]:
        """Multiply the offset of each row of shape (m, d) from the centre by the precision, (m, d)."""
        offsets = rows - self.mean
        white = offsets @ self.whitening
        gradient = white @ self.whitening.T
        if self.outside:
            gradient += self.outside * (offsets - (white / self._lengths**2) @ self.whitening.T)
        return np.asarray(gradient)

    @cached_property
    def whitening_of_all(self) -> NDArray[np.float64]:
        """The whitening with the directions outside the axes, (d, d); `whitening` itself where they are ignored."""
        if not self.outside:
            return self.whitening
        axes = self.whitening / self._lengths
        rest = np.sqrt(self.outside)
        whole = axes * (self._lengths - rest) @ axes.T
        whole.flat[:: len(whole) + 1] += rest
        return np.asarray(whole)

    @cached_property
    def _lengths(self) -> NDArray[np.float64]:
        return np.sqrt(np.einsum("ij,ij->j", self.whitening, self.whitening))


def fit_empirical(
    rows: FloatArray,
    max_components: int = MAX_COMPONENTS,
    ridge: float = RIDGE,
    axes: NDArray[np.float64] | None = None,
) -> Gaussian:
    """Fit the published Gaussian: leading principal axes, empirical variances, a ridge.

    Parameters
    ----------
    rows : ndarray of shape (n, d), or (n, p) with `axes`
        Normals.
    max_components : int, default=256
        Axes kept: min(max_components, d, n - 1), at least one.
    ridge : float, default=1e-4
        Added to each variance.
    axes : ndarray of shape (d, p), optional
        As in :func:`fit_ledoit_wolf`.

    Returns
    -------
    Gaussian
        In d dimensions.
    """
    n, d = rows.shape
    mean = rows.mean(axis=0, dtype=np.float64)
    kept = max(1, min(max_components, d, n - 1))
    variances, principal = _principal_axes(rows - mean)
    whitening = principal[:, :kept] / np.sqrt(variances[:kept] + ridge)
    return Gaussian(mean, whitening) if axes is None else Gaussian(axes @ mean, axes @ whitening)


def fit_ledoit_wolf(rows: FloatArray, axes: NDArray[np.float64] | None = None) -> Gaussian:
    """Fit a Gaussian with the Ledoit-Wolf covariance, over all axes.

    Parameters
    ----------
    rows : ndarray of shape (n, d), or (n, p) with `axes`
        Normals.
    axes : ndarray of shape (d, p), n <= d, optional
        Orthonormal axes; the rows are coordinates along them of normals that lie in the space that they span.

    Returns
    -------
    Gaussian
        In d dimensions.
    """
    return fit_shrunk(rows, axes)[0]


def fit_shrunk(rows: FloatArray, axes: NDArray[np.float64] | None = None) -> tuple[Gaussian, float]:
    """Fit a Gaussian as :func:`fit_ledoit_wolf` does; return it and its shrinkage, in [0, 1].

    Fewer rows than dimensions leave at most n - 1 axes apart, so the covariance itself is not needed.
    """
    n, p = rows.shape
    d = p if axes is None else len(axes)
    mean = rows.mean(axis=0, dtype=np.float64)
    offsets = rows - mean
    lengths = np.einsum("ij,ij->i", offsets, offsets)
    if n >= d and axes is None:
        return shrunk(mean, offsets.T @ offsets / n, n, float(lengths @ lengths))
    # The products of the rows have the eigenvalues of the covariance that are not 0.
    products = (offsets @ offsets.T if n < p else offsets.T @ offsets) / n
    amount, floor = _shrinkage(products, n, d, float(lengths @ lengths))
    variances, sides = np.linalg.eigh(products)
    apart = variances > n * np.finfo(np.float64).eps * variances[-1]
    variances, sides = variances[apart], sides[:, apart]
    own = offsets.T @ (sides / np.sqrt(n * variances)) if n < p else sides
    whitening = own / np.sqrt((1 - amount) * variances + floor)
    if axes is not None:
        mean, whitening = axes @ mean, axes @ whitening
    return Gaussian(mean, whitening, 1 / floor), amount


def fit_ridged(rows: FloatArray, share: float) -> Gaussian:
    """Fit a Gaussian whose covariance has a ridge added, over all axes.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Normals.
    share : float
        Of the total variance, above 0: what is added to the variance of each axis.

    Returns
    -------
    Gaussian
        In d dimensions.
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    offsets = rows - mean
    n, d = offsets.shape
    total = float(np.einsum("ij,ij->", offsets, offsets)) / n
    ridge = share * total + float(np.finfo(np.float64).eps)
    variances, sides = np.linalg.eigh((offsets @ offsets.T if n < d else offsets.T @ offsets) / n)
    apart = variances > max(n, d) * np.finfo(np.float64).eps * max(total, np.finfo(np.float64).tiny)
    variances, sides = variances[apart], sides[:, apart]
    axes = offsets.T @ (sides / np.sqrt(n * variances)) if n < d else sides
    return Gaussian(mean, axes / np.sqrt(variances + ridge), 1 / ridge)


def shrunk(mean: NDArray[np.float64], covariance: NDArray[np.float64], n: int, fourth: float) -> tuple[Gaussian, float]:
    """Make a Gaussian of a shrunk covariance.

    Parameters
    ----------
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
        Of n rows, without shrinkage; overwritten.
    n : int
    fourth : float
        Sum of the fourth powers of the rows' distances from their mean.

    Returns
    -------
    Gaussian
    float
        The shrinkage, in [0, 1].
    """
    from scipy.linalg.lapack import dtrtri

    amount, floor = _shrinkage(covariance, n, len(mean), fourth)
    covariance *= 1 - amount
    covariance.flat[:: len(covariance) + 1] += floor
    # The inverse of a triangle takes a sixth of the work of a general one.
    inverse, _ = dtrtri(np.linalg.cholesky(covariance), lower=1)
    return Gaussian(mean, np.ascontiguousarray(inverse.T)), amount


def _shrinkage(products: NDArray[np.float64], n: int, d: int, fourth: float) -> tuple[float, float]:
    amount, floor = shrinkage((products**2).sum(), np.trace(products) / d, np.float64(fourth), n, d)
    return float(amount), float(floor)


def shrinkage(
    norm: NDArray[np.float64] | np.float64,
    scale: NDArray[np.float64] | np.float64,
    fourth: NDArray[np.float64] | np.float64,
    n: int,
    d: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the shrinkage of covariances, and what it adds to each variance.

    Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
    Multivariate Analysis 88:365, 2004, section 3.2. Two rows, or rows that are all alike, leave axes without variance;
    a little more keeps the distance finite there.

    Parameters
    ----------
    norm, scale, fourth : float or ndarray of shape (b,)
        Sum of the squares of a covariance's elements, mean of its diagonal, and sum of the fourth powers of the rows'
        distances from their mean.
    n, d : int
        Rows and dimensions of each.

    Returns
    -------
    shrinkage : float or ndarray of shape (b,)
        In [0, 1].
    floor : float or ndarray of shape (b,)
    """
    signal = norm / d - scale**2
    noise = np.minimum((fourth / n - norm) / (d * n), signal)
    amount = np.where(noise > 0, noise / np.where(noise > 0, signal, 1), 0.0)
    return amount, amount * scale + 1e-9 * scale + np.finfo(np.float64).eps


def _principal_axes(offsets: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give variances, descending, and axes as columns, by whichever way is the smaller problem."""
    n, d = offsets.shape
    if n < d:
        _, spread, axes = np.linalg.svd(offsets, full_matrices=False)
        return spread**2 / max(n - 1, 1), axes.T
    variances, axes = np.linalg.eigh(offsets.T @ offsets / max(n - 1, 1))
    return np.maximum(variances[::-1], 0), axes[:, ::-1]
