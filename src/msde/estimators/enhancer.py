"""MeanShiftEnhancer: the mean shift as a scikit-learn transformer."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from msde.estimators.parameters import check_parameters
from msde.method.arrays import FloatArray
from msde.method.density_weights import Weighting, density_weights
from msde.method.mean_shift import MAX_REFERENCES, shift

SHIFT_PARAMETERS = {
    "n_neighbors": (int, 1, None),
    "learning_rate": (Real, 0, 1),
    "max_iter": (int, 0, None),
    "tol": (Real, 0, None),
    "max_references": (int, 1, None),
}


class MeanShiftEnhancer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Move embeddings towards denser regions by iterated weighted mean shift.

    Parameters
    ----------
    n_neighbors : int, default=50
        Neighbours that pull a row, itself included; capped at the number of rows.
    learning_rate : float, default=0.33
        Share of the way to the weighted mean that a row moves in one iteration, in (0, 1].
    max_iter : int, default=8
        Largest number of iterations.
    tol : float, default=0.01
        Stop after the iteration whose mean distance to the weighted mean is below this.
    weighting : {"density", "published", "uniform"}, default="density"
        Density weights: "density" is the order-free form that the authors state, "published" reproduces what their
        scripts compute (blocks of 100 rows, summed row numbers), "uniform" uses none. See
        :func:`msde.method.density_weights.density_weights`.
    max_references : int, default=20000
        Training rows whose path is kept for `transform`, evenly spaced by row number (landmarks). All rows take part in
        the fit in any case; fewer references make the model smaller and `transform` faster.

    Attributes
    ----------
    density_weights_ : ndarray of shape (n,)
        Weight of each training row.
    displacement_ : ndarray of shape (n,)
        Distance to the weighted mean, summed over the iterations (the score of arXiv 2602.03293).
    n_iter_ : int
        Iterations done.
    trajectory_ : msde.method.mean_shift.Trajectory
        Training positions before each iteration, which `transform` follows.

    Notes
    -----
    `fit(X).transform(X)` equals `fit_transform(X)` up to `max_references` rows, but for the neighbours that a sketch
    misses: a query moves towards the weighted mean of its nearest training positions of each iteration, so a training
    row follows its own path. Beyond, `transform`
    follows the references alone, with `n_neighbors` times the square root of the share kept, and its results come near
    those of `fit_transform`; keep some tens of references for every group of rows that is to stay apart.

    Neighbours are exact up to 2,000 rows, and up to 20,000 too unless a sketch of the rows finds at least 99 % of the
    true ones in a sample. Beyond it has to find 97 %, and is searched in cells (`msde.method.neighbors`;
    docs/many-rows.md). Results are the same from run to run.

    Memory-mapped float32 or float64 input is read in place and never written. The fit holds one copy of the rows; the
    model holds `max_references` rows for each iteration.

    References
    ----------
    arXiv 2604.19191, "Mean Shift Density Enhancement"; arXiv 2602.03293.

    Examples
    --------
    >>> import numpy as np
    >>> from msde import MeanShiftEnhancer
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> shifted = MeanShiftEnhancer(n_neighbors=20).fit_transform(X)
    >>> bool(shifted.std() < X.std())
    True
    """

    def __init__(
        self,
        n_neighbors: int = 50,
        *,
        learning_rate: float = 0.33,
        max_iter: int = 8,
        tol: float = 0.01,
        weighting: Weighting = "density",
        max_references: int = MAX_REFERENCES,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.weighting = weighting
        self.max_references = max_references

    def fit(self, X: Any, y: Any = None) -> Self:
        """Shift the training rows and keep their path.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Embeddings, n >= 2, finite.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X or a parameter is out of range.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> FloatArray:
        """Shift the training rows and return their final positions.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Embeddings, n >= 2, finite.
        y : ignored

        Returns
        -------
        ndarray of shape (n, d)
        """
        return self._fit(X)

    def transform(self, X: Any) -> FloatArray:
        """Move rows along the frozen path of the training rows, each on its own.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Embeddings, finite.

        Returns
        -------
        ndarray of shape (m, d)
        """
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        shifted, _ = self.trajectory_.follow(rows.astype(self.trajectory_.weights.dtype, copy=False))
        return shifted.astype(rows.dtype, copy=False)

    def _fit(self, X: Any) -> FloatArray:
        check_parameters(self, SHIFT_PARAMETERS)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        self.density_weights_ = density_weights(rows, self.weighting)
        self.trajectory_, shifted, self.displacement_ = shift(
            rows,
            self.density_weights_,
            n_neighbors=self.n_neighbors,
            learning_rate=self.learning_rate,
            max_iter=self.max_iter,
            tol=self.tol,
            max_references=self.max_references,
        )
        self.n_iter_ = len(self.trajectory_.positions)
        return shifted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
