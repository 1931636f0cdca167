"""The method on arrays of normals: what fits, scores, and scores each normal by what has not seen it."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.calibration import CrossFit, Fit, check_rate, runs
from msde.method.density_weights import WEIGHTINGS, Weighting
from msde.method.gaussian import fit_empirical, fit_ledoit_wolf
from msde.method.held_out_scores import HeldOut
from msde.method.inductive_fit import FitGaussian, FitInductive, fit_inductive
from msde.method.labelled_fit import fit_labelled
from msde.method.outliers import FEWEST_ROWS, LIMIT, outlyingness
from msde.method.pool_calibration import HeldOutScores, MovedToPool
from msde.method.scorers import AdaptiveScorer, InductiveScorer, Scorer
from msde.method.standardizer import CompressingStandardizer
from msde.method.unlabelled_pool import fit_direction

Mode = Literal["inductive", "adaptive", "transductive"]
Shift = Literal["displacement"]
GaussianKind = Literal["pca", "ledoit-wolf"]
GAUSSIANS: dict[str, FitGaussian] = {"pca": fit_empirical, "ledoit-wolf": fit_ledoit_wolf}


class Detection:
    """What :class:`msde.MSDEDetector` does in inductive and adaptive mode, which is built on it.

    By itself it spares a fit the import of scikit-learn, a second and 100 MB, and takes rows as they are.

    Parameters
    ----------
    mode : {"inductive", "adaptive"}, default="inductive"
    alpha, shift, weighting, gaussian
        As of `msde.MSDEDetector`, as are the attributes.
    """

    scorer_: Scorer
    outlyingness_: NDArray[np.float64]
    trusted_: NDArray[np.bool_]

    def __init__(
        self,
        mode: Mode = "inductive",
        *,
        alpha: float = 0.05,
        shift: Shift | None = "displacement",
        weighting: Weighting | None = None,
        gaussian: GaussianKind | None = None,
    ) -> None:
        self.mode = mode
        self.alpha = alpha
        self.shift = shift
        self.weighting = weighting
        self.gaussian = gaussian

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
        """Learn what normal embeddings look like; see :meth:`msde.MSDEDetector.fit`."""
        check_rate(self.alpha)
        choices = {"shift": get_args(Shift), "weighting": WEIGHTINGS, "gaussian": tuple(GAUSSIANS)}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in (*known, None):
                raise ValueError(f"{name} must be {', '.join(map(repr, known))} or None; got {value!r}")
        if self.mode == "adaptive" and self.gaussian == "pca":
            raise ValueError("mode 'adaptive' has a Ledoit-Wolf Gaussian; leave gaussian='pca' out")
        rows = self._checked(X)
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
    def held_out_from(self) -> str:
        """Where the held-out scores come from, up to what they are of."""
        moved = isinstance(self._held_out, MovedToPool) and self._held_out.move > 0
        return "cross-fitted and moved to the pool: training" if moved else "cross-fitted training"

    def cross_fitted_scores(self) -> NDArray[np.float64]:
        """Return the score of each training row; see :meth:`msde.MSDEDetector.cross_fitted_scores`."""
        return self._held_out.scores

    def _checked(self, rows: Any, like: FloatArray | None = None) -> FloatArray:
        """Return normals as an array, or further rows of the type of the normals."""
        return np.asarray(rows, None if like is None else like.dtype)

    def _checked_pool(self, unlabelled: Any, rows: FloatArray) -> FloatArray | None:
        if (unlabelled is not None) != (self.mode == "adaptive"):
            raise ValueError(
                f"mode {self.mode!r} {'needs' if unlabelled is None else 'takes no'} unlabelled rows;"
                " give fit(X, unlabelled=...) with mode='adaptive' only"
            )
        return None if unlabelled is None else self._checked(unlabelled, rows)

    def _checked_labels(self, abnormal: Any, rows: FloatArray) -> FloatArray:
        if self.mode == "transductive":
            raise ValueError("labelled abnormal rows go with mode 'inductive' or 'adaptive'; got 'transductive'")
        labelled = self._checked(abnormal, rows)
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
        if self.mode not in ("inductive", "adaptive"):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}; got {self.mode!r}")
        inductive = self._inductive_fit()
        return inductive if pool is None else partial(_fit_adaptive, pool, weight, inductive)

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
