"""The fit of a scorer to normals and labelled abnormal rows, with the scores of the normals held out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.calibration import Fit, folds
from msde.method.labelled_abnormals import Blend, Likeness
from msde.method.parallel import in_order, single_threaded_products
from msde.method.scorers import InductiveScorer, LabelledScorer

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
    if len(normals) < FEWEST_NORMALS:
        raise ValueError(f"labelled abnormal rows need at least {FEWEST_NORMALS} normals; got {len(normals)}")
    n_patients = len(np.unique(patients))
    distances, likeness = np.empty(len(normals)), np.empty(len(normals))

    def evidence(rows: FloatArray) -> tuple[InductiveScorer, Likeness]:
        scorer = fit(rows)
        assert isinstance(scorer, InductiveScorer)  # noqa: S101 - of the inductive mode
        standard = scorer.standardizer.apply
        return scorer, Likeness.fit(standard(rows), standard(abnormal))

    def hold_out(fold: IndexArray) -> None:
        scorer, like = evidence(np.delete(normals, fold, axis=0))
        distances[fold] = scorer.score(normals[fold])
        likeness[fold] = like.of(scorer.standardizer.apply(normals[fold]))

    dealt = list(folds(len(normals), groups))
    with single_threaded_products():
        deque(in_order(hold_out, dealt), maxlen=0)
    scores = np.empty(len(normals))
    for fold in dealt:
        others = np.delete(distances, fold), np.delete(likeness, fold)
        scores[fold] = Blend.fit(*others, n_patients).score(distances[fold], likeness[fold])
    scorer, like = evidence(normals)
    cosines = like.cosines(scorer.standardizer.apply(abnormal))
    blend = Blend.fit(distances, likeness, n_patients)
    return LabelledFit(LabelledScorer(scorer, like, blend, familiar(cosines, patients)), scores)


def familiar(cosines: NDArray[np.float64], patients: IndexArray) -> float:
    """Return the cosine that nine tenths of labelled rows have to the nearest of another patient; -1 if all are of one.

    Parameters
    ----------
    cosines : ndarray of shape (k, k)
    patients : ndarray of shape (k,), int
    """
    others = patients[:, None] != patients
    return float(np.quantile(np.where(others, cosines, -1).max(axis=1), FAMILIAR))
