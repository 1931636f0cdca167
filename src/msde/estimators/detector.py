"""MSDEDetector: the whole method as a scikit-learn outlier detector."""

from __future__ import annotations

from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from msde.estimators.enhancer import MeanShiftEnhancer
from msde.estimators.parameters import check_parameters
from msde.method.arrays import FloatArray
from msde.method.calibration import Calibration, Fit
from msde.method.density_weights import Weighting
from msde.method.detection import GAUSSIANS, Detection, GaussianKind, Mode, Shift
from msde.method.inductive_fit import FitGaussian
from msde.method.scorers import Scorer, TransductiveScorer
from msde.method.standardizer import Standardizer

JOINT_SHIFT = ("weighting", "n_neighbors", "learning_rate", "max_iter", "tol")


class MSDEDetector(OutlierMixin, Detection, BaseEstimator):  # type: ignore[misc]
    """Score embeddings by how unlike the normals they are.

    Parameters
    ----------
    mode : {"inductive", "adaptive", "transductive"}, default="inductive"
        "inductive" is Mean Shift Density Enhancement of each row alone, along the frozen path of the normals: the same
        row gets the same score in any batch. "adaptive" does the same, and adds the direction of abnormal rows where a
        pool of unlabelled rows gives evidence of some at `fit`. "transductive" is the published procedure: scored rows
        and normals are shifted together, so a score depends on the batch.
    alpha : float, default=0.05
        Target false-alarm rate of `predict`: the expected share of normals that it flags, in (0, 1).
    shift : "displacement" or None, default="displacement"
        What the Gaussian of inductive and adaptive mode measures: where rows are shifted to from where they were, or
        with None where they are. See :class:`msde.method.frozen_shift.FrozenShift`.
    weighting : {"density", "published", "uniform"}, optional
        Density weights of the shift, see :class:`msde.MeanShiftEnhancer`; by default "density", or the enhancer's. In
        transductive mode "published" computes what the authors' scripts do.
    gaussian : {"pca", "ledoit-wolf"}, optional
        The Gaussian, see :class:`msde.GaussianDensity`: "pca" is the published one, "empirical" there. By default "pca"
        in transductive mode, "ledoit-wolf" in the others; adaptive mode takes no other.
    enhancer : MeanShiftEnhancer, optional
        Settings of the shift in transductive mode; by default ``MeanShiftEnhancer()``. It is not fitted itself.

    Attributes
    ----------
    scorer_ : msde.method.scorers.Scorer
        The frozen arrays that score.
    calibration_ : msde.method.calibration.Calibration
        Cross-fitted scores of the normals: p-values and threshold. Computed when first asked for; for that the training
        rows are kept.
    outlyingness_ : ndarray of shape (n,)
        How far each training row stands out from the others, see :func:`msde.method.outliers.outlyingness`; zeros
        for fewer than 50 rows
        and in transductive mode.
    trusted_ : ndarray of shape (n,), bool
        Whether a training row stands out no more than normals do; the others may be abnormal images among them. All
        are fitted.
    offset_ : float
        `decision_function` is `score_samples` minus this; minus the threshold.

    Notes
    -----
    Scikit-learn's signs hold: `score_samples` and `decision_function` are high for normals, `predict` gives -1 for
    what is flagged. `anomaly_score` is high for what is abnormal.

    In transductive mode the threshold comes from batches of a tenth of the normals and holds for such batches only,
    since a score depends on its batch.

    References
    ----------
    arXiv 2604.19191 (transductive mode); MedIAnomaly, arXiv 2404.04518 (Ledoit-Wolf Gaussian of the inductive mode).

    Examples
    --------
    >>> import numpy as np
    >>> from msde import MSDEDetector
    >>> normals = np.random.default_rng(0).normal(size=(200, 4))
    >>> MSDEDetector().fit(normals).predict([[0, 0, 0, 0], [9, 9, 9, 9]])
    array([ 1, -1])
    """

    def __init__(
        self,
        mode: Mode = "inductive",
        *,
        alpha: float = 0.05,
        shift: Shift | None = "displacement",
        weighting: Weighting | None = None,
        gaussian: GaussianKind | None = None,
        enhancer: MeanShiftEnhancer | None = None,
    ) -> None:
        super().__init__(mode, alpha=alpha, shift=shift, weighting=weighting, gaussian=gaussian)
        self.enhancer = enhancer

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        unlabelled: Any = None,
        groups: Any = None,
        abnormal: Any = None,
        abnormal_groups: Any = None,
    ) -> Self:
        """Learn what normal embeddings look like.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Embeddings of normals, n >= 2, finite.
        y : ignored
        unlabelled : array-like of shape (m, d), optional
            Embeddings of whatever comes in, normal and abnormal; required in adaptive mode and refused in the others.
        groups : array-like of shape (n,), optional
            Patient or volume of each row, by numbers or names, at least two different ones: rows of one are held out
            together, and count together. By default runs of neighbouring rows are held out together, and each row
            counts.
        abnormal : array-like of shape (k, d), optional
            Embeddings of images that are known to be abnormal, in inductive or adaptive mode: what is like them scores
            higher, see :mod:`msde.method.labelled_abnormals`. In adaptive mode they decide as well how far the
            direction of the pool is used; rows of the pool that equal one of them are left out of it.
        abnormal_groups : array-like of shape (k,), optional
            Patient of each labelled row, by numbers or names; by default each is a patient's own.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X, the unlabelled or labelled rows or a parameter is out of range, a labelled row is a normal too, or all
            unlabelled rows are labelled ones.
        """
        check_parameters(self, {"alpha": (Real, 0, 1)})
        return super().fit(X, unlabelled=unlabelled, groups=groups, abnormal=abnormal, abnormal_groups=abnormal_groups)

    @property
    def calibration_(self) -> Calibration:
        """Cross-fitted scores of the normals: p-values and threshold."""
        return Calibration.of(self.cross_fitted_scores(), self.alpha, f"{self.held_out_from} normals", self._groups)

    @property
    def offset_(self) -> float:
        """Minus the threshold."""
        return -self.calibration_.threshold

    def anomaly_score(self, X: Any) -> NDArray[np.float64]:
        """Score rows: the higher, the more abnormal.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Embeddings, finite.

        Returns
        -------
        ndarray of shape (m,), float64
            Mahalanobis distances, at least 0; in adaptive mode, and after labelled rows, any number.
        """
        check_is_fitted(self)
        return self.scorer_.score(validate_data(self, X, reset=False, dtype=[np.float64, np.float32]))

    def cross_fitted_scores(self) -> NDArray[np.float64]:
        """Return the anomaly score of each training row (n,) by a detector that has not seen it; none if n < 3.

        In adaptive mode they are moved to where the normals of the pool score, if these score higher by more than
        chance: see :func:`msde.method.pool_calibration.move_of_normals`.
        """
        check_is_fitted(self)
        return super().cross_fitted_scores()

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return minus the anomaly score of each row of X (m, d)."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return how far below the threshold each row of X (m, d) scores: negative is flagged."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.intp]:
        """Return -1 for each row of X (m, d) that is flagged at the false-alarm rate `alpha`, and 1 for the others."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def p_values(self, X: Any) -> NDArray[np.float64]:
        """Return the conformal p-value of each row of X (m, d), in [1 / (n + 1), 1]."""
        return self.calibration_.p_values(self.anomaly_score(X))

    def _checked(self, rows: Any, like: FloatArray | None = None) -> FloatArray:
        """Check that rows are finite numbers, and normals two at least."""
        if like is not None:
            return validate_data(self, rows, reset=False, dtype=like.dtype)
        return validate_data(self, rows, dtype=[np.float64, np.float32], ensure_min_samples=2)

    def _scorer_fit(self, pool: FloatArray | None, weight: float | None = None) -> Fit:
        if self.mode != "transductive":
            return super()._scorer_fit(pool, weight)
        settings = MeanShiftEnhancer() if self.enhancer is None else clone(self.enhancer)
        if self.weighting is not None:
            settings.set_params(weighting=self.weighting)
        return partial(_fit_transductive, settings, GAUSSIANS[self.gaussian or "pca"])


def _fit_transductive(settings: MeanShiftEnhancer, fit_gaussian: FitGaussian, rows: FloatArray) -> Scorer:
    standardizer = Standardizer.fit(rows)
    normals = standardizer.apply(rows)
    enhancer = clone(settings)
    gaussian = fit_gaussian(enhancer.fit_transform(normals))
    joint = {name: getattr(enhancer, name) for name in JOINT_SHIFT}
    return TransductiveScorer(standardizer, gaussian, normals, **joint)
