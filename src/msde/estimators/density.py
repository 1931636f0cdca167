"""GaussianDensity: a Gaussian of normals as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from msde.estimators.parameters import check_parameters
from msde.method.gaussian import fit_empirical, fit_ledoit_wolf


class GaussianDensity(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Fit a Gaussian to normals and measure Mahalanobis distances from it.

    Parameters
    ----------
    covariance : {"empirical", "ledoit-wolf"}, default="empirical"
        "empirical" is the published scorer: leading principal axes, empirical variances plus 1e-4. "ledoit-wolf"
        shrinks the covariance over all axes.
    max_components : int, default=256
        Principal axes kept by "empirical": min(max_components, d, n - 1).

    Attributes
    ----------
    gaussian_ : msde.method.gaussian.Gaussian
        Centre and whitening.

    References
    ----------
    arXiv 2604.19191, "Gaussian density estimation"; Ledoit and Wolf, Journal of Multivariate Analysis 88:365, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from msde import GaussianDensity
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> far, near = GaussianDensity().fit(X).mahalanobis([[9, 9, 9, 9], [0, 0, 0, 0]])
    >>> bool(far > near)
    True
    """

    def __init__(
        self, covariance: Literal["empirical", "ledoit-wolf"] = "empirical", *, max_components: int = 256
    ) -> None:
        self.covariance = covariance
        self.max_components = max_components

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the Gaussian.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Normals, n >= 2, finite.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X or a parameter is out of range.
        """
        check_parameters(self, {"max_components": (int, 1, None)})
        rows = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        if self.covariance == "empirical":
            self.gaussian_ = fit_empirical(rows, self.max_components)
        elif self.covariance == "ledoit-wolf":
            self.gaussian_ = fit_ledoit_wolf(rows)
        else:
            raise ValueError(f"covariance must be 'empirical' or 'ledoit-wolf'; got {self.covariance!r}")
        return self

    def mahalanobis(self, X: Any) -> NDArray[np.float64]:
        """Measure the Mahalanobis distance of each row from the centre.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Embeddings, finite.

        Returns
        -------
        ndarray of shape (m,), float64
            Distances, at least 0.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return self.gaussian_.mahalanobis(rows)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return minus the Mahalanobis distance of each row of X (m, d): higher is more normal."""
        return -self.mahalanobis(X)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples` over X (m, d)."""
        return float(self.score_samples(X).mean())
