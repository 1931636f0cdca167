"""The fit of a scorer to normals and labelled abnormal rows, with the scores of the normals held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.calibration import folds
from msde.method.discriminant import Discriminant
from msde.method.gaussian import Gaussian, fit_ridged
from msde.method.inductive_fit import FitInductive
from msde.method.labelled_abnormals import RIDGE, Blend, Likeness, gate, soft_mean
from msde.method.parallel import in_order, single_threaded_products
from msde.method.scorers import InductiveScorer, LabelledScorer
from msde.method.standardizer import CompressingStandardizer
from msde.method.surroundings import Surroundings, relative
from msde.method.unlabelled_pool import Direction, confirmed, fit_direction
from msde.method.weighing import WeighedDiscriminant, Weighing

FEWEST_NORMALS = 20
FAMILIAR = 0.1  # share of labelled rows that may be less like the others


@dataclass(frozen=True)
class LabelledFit:
    """What a fit to labelled rows leaves.

    Parameters
    ----------
    scorer : LabelledScorer
    scores : ndarray of shape (n,)
        Of the normals, each by a fit that has not seen its group but all labels.
    """

    scorer: LabelledScorer
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Fold:
    """Normals that are held out together, seen by what was fitted to the others.

    Parameters
    ----------
    rows : ndarray of int
        Their numbers.
    near : ndarray of shape (m, k), int
        Numbers of the others in the surroundings of each.
    standard : ndarray of shape (m, d)
        The normals, standardised.
    standardizer : CompressingStandardizer
    gaussian : Gaussian
        Of the other normals, standardised, as :class:`Likeness` takes it.
    """

    rows: IndexArray
    near: IndexArray
    standard: FloatArray
    standardizer: CompressingStandardizer
    gaussian: Gaussian

    def cosines(self, abnormal: FloatArray) -> NDArray[np.float64]:
        """Compute the cosine of each normal of the fold to each labelled embedding (k, d), (m, k)."""
        return Likeness.seen_from(self.gaussian, self.standardizer.apply(abnormal)).cosines(self.standard)


@dataclass(frozen=True)
class HeldOutNormals:
    """Normals, each seen by a fit without its group: all that can be computed before there are labels.

    Parameters
    ----------
    normals : ndarray of shape (n, d)
        Their embeddings.
    scorer : InductiveScorer
        Of all normals.
    gaussian : Gaussian
        Of all normals, standardised, as :class:`Likeness` takes it.
    surroundings : Surroundings
        Of all normals, standardised.
    folds : sequence of Fold
    distances : ndarray of shape (n,)
        Scores of the normals.
    along : ndarray of shape (n,)
        Of each in the direction of a pool; zeros without one.
    """

    normals: FloatArray
    scorer: InductiveScorer
    gaussian: Gaussian
    surroundings: Surroundings
    folds: Sequence[Fold]
    distances: NDArray[np.float64]
    along: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        normals: FloatArray,
        fit: FitInductive,
        groups: IndexArray | None = None,
        pool: FloatArray | None = None,
        scorer: InductiveScorer | None = None,
    ) -> Self:
        """Fit to all normals, where `scorer` is not that already, and without each fold.

        The other parameters and errors are those of :func:`fit_labelled`.
        """
        if len(normals) < FEWEST_NORMALS:
            raise ValueError(f"labelled abnormal rows need at least {FEWEST_NORMALS} normals; got {len(normals)}")
        distances, along = np.empty(len(normals)), np.zeros(len(normals))

        def seen(scorer: InductiveScorer, rows: FloatArray) -> tuple[Gaussian, Surroundings]:
            standard = scorer.standardizer.apply(rows)
            gaussian = fit_ridged(standard, RIDGE)
            return gaussian, Surroundings.of(standard, gaussian)

        def hold_out(rows: IndexArray) -> Fold:
            others = np.delete(np.arange(len(normals)), rows)
            without = fit(normals[others])
            gaussian, surroundings = seen(without, normals[others])
            standard = without.standardizer.apply(normals[rows])
            measured = without.measured_of(standard)
            distances[rows] = without.gaussian.mahalanobis(measured)
            if pool is not None:
                along[rows] = fit_direction(without.gaussian, without.measured(pool)).along(measured)
            return Fold(rows, others[surroundings.near(standard)], standard, without.standardizer, gaussian)

        with single_threaded_products():
            dealt = list(in_order(hold_out, folds(len(normals), groups)))
        scorer = scorer or fit(normals)
        return cls(normals, scorer, *seen(scorer, normals), dealt, distances, along)

    def with_labels(
        self, abnormal: FloatArray, patients: IndexArray, direction: Direction | None = None
    ) -> LabelledFit:
        """Learn from labelled abnormal rows too; parameters are those of :func:`fit_labelled`."""
        n_patients = len(np.unique(patients))
        n = len(self.distances)
        cosines, odds = np.empty((n, len(abnormal))), np.empty(n)
        with single_threaded_products():
            for fold, seen in zip(self.folds, in_order(partial(self._seen, abnormal), self.folds), strict=True):
                cosines[fold.rows], odds[fold.rows] = seen
        likeness = soft_mean(cosines)
        compared, told, scores = np.empty(n), np.empty(n), np.empty(n)
        for fold in self.folds:
            variance = float(np.delete(likeness, fold.rows).var())
            compared[fold.rows] = relative(likeness[fold.rows], likeness[fold.near], variance)
            told[fold.rows] = odds[fold.rows] - odds[fold.near].mean(axis=1)

        def weigh(rows: IndexArray) -> tuple[Weighing, Blend]:
            weighing = Weighing.fit(compared[rows], told[rows], n_patients)
            slope = weighing.slope() * gate(self.distances[rows], cosines[rows], n_patients)
            of_rows = weighing.of(compared[rows], told[rows])
            return weighing, Blend.fit(self.distances[rows], of_rows, n_patients, slope)

        for fold in self.folds:
            weighing, blend = weigh(np.delete(np.arange(n), fold.rows))
            of_fold = weighing.of(compared[fold.rows], told[fold.rows])
            scores[fold.rows] = blend.score(self.distances[fold.rows], of_fold)
        standardizer = self.scorer.standardizer
        standard = standardizer.apply(abnormal)
        like = Likeness.seen_from(self.gaussian, standard)
        weighing, blend = weigh(np.arange(n))
        scorer = LabelledScorer(
            self.scorer,
            like,
            blend,
            familiar(like.cosines(standard), patients),
            self.surroundings,
            likeness,
            direction,
            WeighedDiscriminant(Discriminant.fit(standardizer.apply(self.normals), standard), odds, weighing),
        )
        return LabelledFit(scorer, scores if direction is None else scores + (direction.weight or 0) * self.along)

    def _seen(self, abnormal: FloatArray, fold: Fold) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give cosines and log odds of the normals of a fold, by what is fitted to the others and the labelled rows."""
        others = fold.standardizer.apply(np.delete(self.normals, fold.rows, axis=0))
        discriminant = Discriminant.fit(others, fold.standardizer.apply(abnormal))
        return fold.cosines(abnormal), discriminant.of(fold.standard)


def fit_labelled(
    normals: FloatArray,
    abnormal: FloatArray,
    fit: FitInductive,
    patients: IndexArray,
    groups: IndexArray | None = None,
    pool: FloatArray | None = None,
) -> LabelledFit:
    """Fit to normals and labelled abnormal rows.

    The scales of distance and likeness are those of held-out normals. So that a held-out normal does not take part in
    its own scale, that of each fold comes from the other folds.

    Parameters
    ----------
    normals : ndarray of shape (n, d)
        Embeddings, at least 20.
    abnormal : ndarray of shape (k, d)
        Embeddings of labelled abnormal images.
    fit : callable
        Makes an inductive scorer from normals.
    patients : ndarray of shape (k,), int
        Number of the patient of each labelled row.
    groups : ndarray of shape (n,), int, optional
        As in :class:`msde.method.calibration.CrossFit`.
    pool : ndarray of shape (m, d), optional
        Unlabelled embeddings, of other images than the labelled ones: their direction is added as far as the labels
        confirm it, see :func:`msde.method.unlabelled_pool.confirmed`.

    Returns
    -------
    LabelledFit

    Raises
    ------
    ValueError
        If there are fewer than 20 normals, from which no scale can be taken.
    """
    if pool is None:
        return HeldOutNormals.fit(normals, fit, groups).with_labels(abnormal, patients)
    scorer = fit(normals)
    direction = confirmed_direction(scorer, pool, abnormal, patients)
    held_out = HeldOutNormals.fit(normals, fit, groups, pool if direction.weight else None, scorer)
    return held_out.with_labels(abnormal, patients, direction)


def confirmed_direction(
    scorer: InductiveScorer, pool: FloatArray, abnormal: FloatArray, patients: IndexArray
) -> Direction:
    """Take a direction from a pool of embeddings (m, d), and weigh it as far as labelled ones (k, d) confirm it."""
    unlabelled = scorer.measured(pool)
    direction = fit_direction(scorer.gaussian, unlabelled)
    if direction.weight:
        share = confirmed(scorer.gaussian, unlabelled, scorer.measured(abnormal), patients)
        return replace(direction, weight=direction.weight * share)
    return direction


def familiar(cosines: NDArray[np.float64], patients: IndexArray) -> float:
    """Return the cosine that nine tenths of labelled rows have to the nearest of another patient; -1 if all are of one.

    Parameters
    ----------
    cosines : ndarray of shape (k, k)
    patients : ndarray of shape (k,), int
    """
    others = patients[:, None] != patients
    return float(np.quantile(np.where(others, cosines, -1).max(axis=1), FAMILIAR))
