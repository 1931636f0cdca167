"""MSDEDetector: the whole method as a scikit-learn outlier detector."""

from __future__ import annotations

from functools import partial
from numbers import Real
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from msde.estimators.enhancer import MeanShiftEnhancer
from msde.estimators.parameters import check_parameters
from msde.method.arrays import FloatArray, IndexArray
from msde.method.calibration import Calibration, CrossFit, Fit, check_rate, runs
from msde.method.density_weights import WEIGHTINGS, Weighting
from msde.method.gaussian import fit_empirical, fit_ledoit_wolf
from msde.method.held_out_scores import HeldOut
from msde.method.inductive_fit import FitGaussian, FitInductive, fit_inductive
from msde.method.labelled_fit import fit_labelled
from msde.method.outliers import FEWEST_ROWS, LIMIT, outlyingness
from msde.method.pool_calibration import HeldOutScores, MovedToPool
from msde.method.scorers import AdaptiveScorer, InductiveScorer, Scorer, TransductiveScorer
from msde.method.standardizer import CompressingStandardizer, Standardizer
from msde.method.unlabelled_pool import fit_direction

JOINT_SHIFT = ("weighting", "n_neighbors", "learning_rate", "max_iter", "tol")
Mode = Literal["inductive", "adaptive", "transductive"]
Shift = Literal["displacement"]
GaussianKind = Literal["pca", "ledoit-wolf"]
GAUSSIANS: dict[str, FitGaussian] = {"pca": fit_empirical, "ledoit-wolf": fit_ledoit_wolf}


class MSDEDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
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
        self.mode = mode
        self.alpha = alpha
        self.shift = shift
        self.weighting = weighting
        self.gaussian = gaussian
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
        check_rate(self.alpha)
        choices = {"shift": get_args(Shift), "weighting": WEIGHTINGS, "gaussian": tuple(GAUSSIANS)}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in (*known, None):
                raise ValueError(f"{name} must be {', '.join(map(repr, known))} or None; got {value!r}")
        if self.mode == "adaptive" and self.gaussian == "pca":
            raise ValueError("mode 'adaptive' has a Ledoit-Wolf Gaussian; leave gaussian='pca' out")
        rows = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        sift = len(rows) >= FEWEST_ROWS and self.mode != "transductive"
        pool = self._checked_pool(unlabelled, rows)
        labelled = None if abnormal is None else self._checked_labels(abnormal, rows)
        if pool is not None and labelled is not None:
            pool = _without(pool, labelled)
        fit_scorer = self._scorer_fit(pool)
        self.outlyingness_ = _doubt(CompressingStandardizer.fit(rows).apply(rows), sift)
        self.trusted_ = self.outlyingness_ <= LIMIT
        self._groups = None if groups is None else _numbered(groups, len(rows))
        if labelled is not None:
            patients = _patients(abnormal_groups, len(labelled))
            fitted = fit_labelled(rows, labelled, self._inductive_fit(), patients, self._groups, pool)
            self._held_out: HeldOutScores = fitted if pool is None else MovedToPool(fitted, fitted.scorer, pool)
            self.scorer_: Scorer = fitted.scorer
        elif abnormal_groups is not None:
            raise ValueError("abnormal_groups are those of labelled rows; give fit(X, abnormal=...) too")
        else:
            self.scorer_ = fit_scorer(rows)
            self._held_out = self._hold_out(rows, pool, fit_scorer)
        return self

    @property
    def calibration_(self) -> Calibration:
        """Cross-fitted scores of the normals: p-values and threshold."""
        return Calibration.of(self.cross_fitted_scores(), self.alpha, f"{self.held_out_from} normals", self._groups)

    @property
    def held_out_from(self) -> str:
        """Where the held-out scores come from, up to what they are of."""
        moved = isinstance(self._held_out, MovedToPool) and self._held_out.move > 0
        return "cross-fitted and moved to the pool: training" if moved else "cross-fitted training"

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
        return self._held_out.scores

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

    def _checked_pool(self, unlabelled: Any, rows: FloatArray) -> FloatArray | None:
        if (unlabelled is not None) != (self.mode == "adaptive"):
            raise ValueError(
                f"mode {self.mode!r} {'needs' if unlabelled is None else 'takes no'} unlabelled rows;"
                " give fit(X, unlabelled=...) with mode='adaptive' only"
            )
        return None if unlabelled is None else validate_data(self, unlabelled, reset=False, dtype=rows.dtype)

    def _checked_labels(self, abnormal: Any, rows: FloatArray) -> FloatArray:
        if self.mode == "transductive":
            raise ValueError("labelled abnormal rows go with mode 'inductive' or 'adaptive'; got 'transductive'")
        labelled: FloatArray = validate_data(self, abnormal, reset=False, dtype=rows.dtype)
        known = {row.tobytes() for row in rows}
        both = [number for number, row in enumerate(labelled) if row.tobytes() in known]
        if both:
            raise ValueError(f"{len(both)} labelled abnormal rows are among the normals: {both[:10]}; leave them out")
        return labelled

    def _hold_out(self, rows: FloatArray, pool: FloatArray | None, fit_scorer: Fit) -> HeldOutScores:
        """Score the training rows by what has not seen them, once that is asked for."""
        groups = runs(len(rows)) if self._groups is None else self._groups
        scorer = self.scorer_
        if isinstance(scorer, InductiveScorer) and self.gaussian != "pca":
            return HeldOut(scorer, rows, groups)
        if pool is None or not isinstance(scorer, AdaptiveScorer):
            return CrossFit(rows, fit_scorer, self._groups)
        if weight := scorer.direction.weight:
            # Decided once: folds near the limit would score on another scale.
            return MovedToPool(CrossFit(rows, self._scorer_fit(pool, weight), self._groups), scorer, pool)
        return MovedToPool(HeldOut(scorer.inductive, rows, groups), scorer, pool)

    def _scorer_fit(self, pool: FloatArray | None, weight: float | None = None) -> Fit:
        if self.mode in ("inductive", "adaptive"):
            inductive = self._inductive_fit()
            return inductive if pool is None else partial(_fit_adaptive, pool, weight, inductive)
        if self.mode == "transductive":
            settings = MeanShiftEnhancer() if self.enhancer is None else clone(self.enhancer)
            if self.weighting is not None:
                settings.set_params(weighting=self.weighting)
            return partial(_fit_transductive, settings, GAUSSIANS[self.gaussian or "pca"])
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}; got {self.mode!r}")

    def _inductive_fit(self) -> FitInductive:
        weighting = None if self.shift is None else self.weighting or "density"
        return partial(fit_inductive, weighting=weighting, fit_gaussian=GAUSSIANS[self.gaussian or "ledoit-wolf"])


def _numbered(groups: Any, n: int) -> IndexArray:
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must be a label for each of {n} rows; got {labels.shape}")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError("groups must name one for each row; got NaN")
    numbers = np.unique(labels, return_inverse=True)[1]
    if numbers.max() < 1:
        raise ValueError("groups must be at least two different ones")
    return numbers.astype(np.intp)


def _patients(groups: Any, n: int) -> IndexArray:
    if groups is None:
        return np.arange(n)
    values = np.asarray(groups)
    if values.shape != (n,):
        raise ValueError(f"abnormal_groups must have shape ({n},); got {values.shape}")
    return np.unique(values, return_inverse=True)[1].astype(np.intp)


def _without(pool: FloatArray, labelled: FloatArray) -> FloatArray:
    """Leave out of a pool what is labelled: it would confirm a direction that it has made itself."""
    known = {row.tobytes() for row in labelled}
    others = pool[[row.tobytes() not in known for row in pool]]
    if not len(others):
        raise ValueError(f"all {len(pool)} unlabelled rows are labelled abnormal; give others, or mode='inductive'")
    return others


def _doubt(normals: FloatArray, sift: bool) -> NDArray[np.float64]:
    return outlyingness(normals) if sift else np.zeros(len(normals))


def _fit_adaptive(pool: FloatArray, weight: float | None, fit: FitInductive, rows: FloatArray) -> Scorer:
    """Fit to the normals, and take a direction from the pool; its weight from the evidence, or as given."""
    alone = fit(rows)
    direction = fit_direction(alone.gaussian, alone.measured(pool), weight)
    return AdaptiveScorer(alone.standardizer, alone.gaussian, direction, alone.shift)


def _fit_transductive(settings: MeanShiftEnhancer, fit_gaussian: FitGaussian, rows: FloatArray) -> Scorer:
    standardizer = Standardizer.fit(rows)
    normals = standardizer.apply(rows)
    enhancer = clone(settings)
    gaussian = fit_gaussian(enhancer.fit_transform(normals))
    joint = {name: getattr(enhancer, name) for name in JOINT_SHIFT}
    return TransductiveScorer(standardizer, gaussian, normals, **joint)
