"""The fit of a scorer to normals and labelled abnormal rows, with the scores of the normals held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.calibration import Fit, folds
from msde.method.gaussian import Gaussian, fit_ridged
from msde.method.labelled_abnormals import RIDGE, Blend, Likeness
from msde.method.parallel import in_order, single_threaded_products
from msde.method.scorers import InductiveScorer, LabelledScorer
from msde.method.standardizer import CompressingStandardizer

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
    standard : ndarray of shape (m, d)
        The normals, standardised.
    standardizer : CompressingStandardizer
    gaussian : Gaussian
        Of the other normals, standardised, as :class:`Likeness` takes it.
    """

    rows: IndexArray
    standard: FloatArray
    standardizer: CompressingStandardizer
    gaussian: Gaussian

    def likeness(self, abnormal: FloatArray) -> NDArray[np.float64]:
        """Tell how like labelled embeddings (k, d) the normals of the fold are, (m,)."""
        return Likeness.seen_from(self.gaussian, self.standardizer.apply(abnormal)).of(self.standard)


@dataclass(frozen=True)
class HeldOutNormals:
    """Normals, each seen by a fit without its group: all that can be computed before there are labels.

    Parameters
    ----------
    scorer : InductiveScorer
        Of all normals.
    gaussian : Gaussian
        Of all normals, standardised, as :class:`Likeness` takes it.
    folds : sequence of Fold
    distances : ndarray of shape (n,)
        Scores of the normals.
    """

    scorer: InductiveScorer
    gaussian: Gaussian
    folds: Sequence[Fold]
    distances: NDArray[np.float64]

    @classmethod
    def fit(cls, normals: FloatArray, fit: Fit, groups: IndexArray | None = None) -> Self:
        """Fit to all normals, and without each fold; parameters and errors are those of :func:`fit_labelled`."""
        if len(normals) < FEWEST_NORMALS:
            raise ValueError(f"labelled abnormal rows need at least {FEWEST_NORMALS} normals; got {len(normals)}")
        distances = np.empty(len(normals))

        def seen(rows: FloatArray) -> tuple[InductiveScorer, Gaussian]:
            scorer = fit(rows)
            assert isinstance(scorer, InductiveScorer)  # noqa: S101 - of the inductive mode
            return scorer, fit_ridged(scorer.standardizer.apply(rows), RIDGE)

        def hold_out(rows: IndexArray) -> Fold:
            scorer, gaussian = seen(np.delete(normals, rows, axis=0))
            distances[rows] = scorer.score(normals[rows])
            return Fold(rows, scorer.standardizer.apply(normals[rows]), scorer.standardizer, gaussian)

        with single_threaded_products():
            dealt = list(in_order(hold_out, folds(len(normals), groups)))
        return cls(*seen(normals), dealt, distances)

    def with_labels(self, abnormal: FloatArray, patients: IndexArray) -> LabelledFit:
        """Learn from labelled abnormal rows too; parameters are those of :func:`fit_labelled`."""
        n_patients = len(np.unique(patients))
        likeness, scores = np.empty(len(self.distances)), np.empty(len(self.distances))
        for fold in self.folds:
            likeness[fold.rows] = fold.likeness(abnormal)
        for fold in self.folds:
            others = np.delete(self.distances, fold.rows), np.delete(likeness, fold.rows)
            scores[fold.rows] = Blend.fit(*others, n_patients).score(self.distances[fold.rows], likeness[fold.rows])
        standard = self.scorer.standardizer.apply(abnormal)
        like = Likeness.seen_from(self.gaussian, standard)
        blend = Blend.fit(self.distances, likeness, n_patients)
        return LabelledFit(LabelledScorer(self.scorer, like, blend, familiar(like.cosines(standard), patients)), scores)


def fit_labelled(
    normals: FloatArray, abnormal: FloatArray, fit: Fit, patients: IndexArray, groups: IndexArray | None = None
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

    Returns
    -------
    LabelledFit

    Raises
    ------
    ValueError
        If there are fewer than 20 normals, from which no scale can be taken.
    """
    return HeldOutNormals.fit(normals, fit, groups).with_labels(abnormal, patients)


def familiar(cosines: NDArray[np.float64], patients: IndexArray) -> float:
    """Return the cosine that nine tenths of labelled rows have to the nearest of another patient; -1 if all are of one.

    Parameters
    ----------
    cosines : ndarray of shape (k, k)
    patients : ndarray of shape (k,), int
    """
    others = patients[:, None] != patients
    return float(np.quantile(np.where(others, cosines, -1).max(axis=1), FAMILIAR))
