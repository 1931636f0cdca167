"""What a fitted detector leaves behind: frozen arrays that score embeddings, with NumPy alone.

A scorer is all that a saved model needs; the estimators in :mod:`msde.estimators` make them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.density_weights import Weighting, density_weights
from msde.method.frozen_shift import FrozenShift
from msde.method.gaussian import Gaussian
from msde.method.labelled_abnormals import Blend, Likeness, soft_mean
from msde.method.mean_shift import shift
from msde.method.standardizer import CompressingStandardizer, Standardizer
from msde.method.surroundings import Surroundings, relative
from msde.method.unlabelled_pool import Direction, held_out_along
from msde.method.weighing import WeighedDiscriminant


class Scorer(Protocol):
    """Anything that gives embeddings an anomaly score; `batchwise` where a score depends on the batch."""

    batchwise: ClassVar[bool]

    def score(self, rows: FloatArray) -> NDArray[np.float64]:
        """Score embeddings of shape (m, d); return (m,), higher is more abnormal."""


@dataclass(frozen=True)
class InductiveScorer:
    """Score each row alone against the normals.

    Parameters
    ----------
    standardizer : CompressingStandardizer
        Of the training normals.
    gaussian : Gaussian
        Of what `measured` gives of the normals.
    shift : FrozenShift or None
        Of the standardised normals.
    """

    batchwise: ClassVar[bool] = False

    standardizer: CompressingStandardizer
    gaussian: Gaussian
    shift: FrozenShift | None = None

    def measured(self, rows: FloatArray) -> FloatArray:
        """Give how embeddings of shape (m, d) are shifted, or where they are if no shift is kept."""
        return self.measured_of(self.standardizer.apply(rows))

    def measured_of(self, standard: FloatArray) -> FloatArray:
        """Give of standardised rows (m, d) what `measured` gives."""
        return standard if self.shift is None else self.shift.displacement(standard)

    def score(self, rows: FloatArray) -> NDArray[np.float64]:
        """Score embeddings of shape (m, d) by Mahalanobis distance; each row by itself."""
        return self.gaussian.mahalanobis(self.measured(rows))


@dataclass(frozen=True)
class AdaptiveScorer:
    """Score each row alone against the normals, and in the direction of a pool's outer rows; both are frozen.

    Parameters
    ----------
    standardizer, gaussian, shift
        Of the inductive scorer. In older model files the Gaussian is of normals and inner rows of the pool.
    direction : Direction
        What the abnormal rows of the pool share; without weight where the pool gives no evidence of any.
    """

    batchwise: ClassVar[bool] = False

    standardizer: CompressingStandardizer
    gaussian: Gaussian
    direction: Direction
    shift: FrozenShift | None = None

    @property
    def inductive(self) -> InductiveScorer:
        """The scorer of the normals alone."""
        return InductiveScorer(self.standardizer, self.gaussian, self.shift)

    def score(self, rows: FloatArray) -> NDArray[np.float64]:
        """Score embeddings of shape (m, d) as the inductive scorer does, and add the direction by its weight."""
        measured = self.inductive.measured(rows)
        return self._sum(measured, self.direction.along(measured))

    def held_out_of_direction(self, pool: FloatArray) -> NDArray[np.float64]:
        """Score the pool's embeddings of shape (m, d), each in the direction of the others."""
        measured = self.inductive.measured(pool)
        return self._sum(measured, held_out_along(self.gaussian, measured) if self.direction.weight else 0)

    def _sum(self, measured: FloatArray, along: NDArray[np.float64] | int) -> NDArray[np.float64]:
        distance = self.gaussian.mahalanobis(measured)
        if self.direction.weight is None:
            gate = self.direction.gate
            return (1 - gate) * np.sqrt(2) * distance + gate * along
        return distance + self.direction.weight * along


@dataclass(frozen=True)
class TransductiveScorer:
    """Shift normals and scored rows together, then measure the scored rows (the published procedure).

    A row's score depends on the rows that it is scored with.

    Parameters
    ----------
    standardizer : Standardizer
        Of the training normals.
    gaussian : Gaussian
        Of the normals shifted by themselves.
    normals : ndarray of shape (n, d)
        Standardised training normals.
    weighting, n_neighbors, learning_rate, max_iter, tol
        As in :func:`msde.method.mean_shift.shift` and :func:`msde.method.density_weights.density_weights`.
    """

    batchwise: ClassVar[bool] = True

    standardizer: Standardizer
    gaussian: Gaussian
    normals: FloatArray
    weighting: Weighting
    n_neighbors: int
    learning_rate: float
    max_iter: int
    tol: float

    def score(self, rows: FloatArray) -> NDArray[np.float64]:
        """Score a batch of embeddings of shape (m, d) by Mahalanobis distance after the joint shift."""
        union = np.vstack([self.normals, self.standardizer.apply(rows)])
        _, shifted, _ = shift(
            union,
            density_weights(union, self.weighting),
            n_neighbors=self.n_neighbors,
            learning_rate=self.learning_rate,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        return self.gaussian.mahalanobis(shifted[len(self.normals) :])


@dataclass(frozen=True)
class LabelledScorer:
    """Score each row alone against normals and labelled abnormal rows, both frozen.

    Parameters
    ----------
    scorer : InductiveScorer
        Of the normals.
    likeness : Likeness
        To the labelled rows.
    blend : Blend
        Of the two.
    familiar : float
        Cosine to the nearest labelled row from which on a row passes for one of a labelled kind.
    surroundings : Surroundings or None
        In which likeness is set against that of the normals near by; None in older model files, which take it as it is.
    usual : ndarray of shape (n,), float64, or None
        Likeness of the normals of the surroundings, held out.
    direction : Direction or None
        What the abnormal rows of a pool share, as far as the labels confirm it; None where there was no pool.
    discriminant : WeighedDiscriminant or None
        Between normals and labelled rows, and how it counts beside the likeness; None in older model files.
    """

    batchwise: ClassVar[bool] = False

    scorer: InductiveScorer
    likeness: Likeness
    blend: Blend
    familiar: float
    surroundings: Surroundings | None = None
    usual: NDArray[np.float64] | None = None
    direction: Direction | None = None
    discriminant: WeighedDiscriminant | None = None

    def __post_init__(self) -> None:
        """Refuse surroundings without numbers for each of their normals, such as of a damaged model file."""
        n_places = 0 if self.surroundings is None else len(self.surroundings.places)
        if (0 if self.usual is None else len(self.usual)) != n_places:
            raise ValueError("surroundings need a likeness for each of their normals")
        if self.usual is not None and not (self.usual.ndim == 1 and np.isfinite(self.usual).all()):
            raise ValueError("likenesses of normals must be finite numbers (n,)")
        if self.discriminant is not None and (not n_places or len(self.discriminant.usual) != n_places):
            raise ValueError("a discriminant needs log odds of each normal of the surroundings")

    @property
    def standardizer(self) -> CompressingStandardizer:
        """That of the normals."""
        return self.scorer.standardizer

    def score(self, rows: FloatArray) -> NDArray[np.float64]:
        """Score embeddings of shape (m, d), each by itself: the distance, and what labels and pool add in its unit."""
        return self._sum(rows, lambda direction, measured: direction.along(measured))

    def held_out_of_direction(self, pool: FloatArray) -> NDArray[np.float64]:
        """Score the pool's embeddings of shape (m, d), each in the direction of the others."""
        return self._sum(pool, lambda _, measured: held_out_along(self.scorer.gaussian, measured))

    def _sum(
        self, rows: FloatArray, along: Callable[[Direction, FloatArray], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        standard = self.standardizer.apply(rows)
        measured = self.scorer.measured_of(standard)
        told = self._told(standard, self.likeness.cosines(standard))
        blended = self.blend.score(self.scorer.gaussian.mahalanobis(measured), told)
        if self.direction is None or not self.direction.weight:
            return blended
        return blended + self.direction.weight * along(self.direction, measured)

    def known(self, rows: FloatArray) -> NDArray[np.bool_]:
        """Tell which rows (m, d), if they are abnormal, pass for a labelled kind.

        They are more likely of one than not, and as near to a labelled row as these are to those of other patients.
        """
        standard = self.standardizer.apply(rows)
        cosines = self.likeness.cosines(standard)
        likely = self.blend.share(self._told(standard, cosines)) > 0.5
        return np.asarray(likely & (cosines.max(axis=1) >= self.familiar))

    def nearest(self, rows: FloatArray) -> IndexArray:
        """Return the number of the labelled row that each embedding (m, d) is most like, (m,)."""
        return np.asarray(self.cosines(rows).argmax(axis=1))

    def cosines(self, rows: FloatArray) -> NDArray[np.float64]:
        """Compute the cosines of embeddings (m, d) to the labelled rows, seen from the normals, (m, k) in [-1, 1]."""
        return self.likeness.cosines(self.standardizer.apply(rows))

    def _told(self, standard: FloatArray, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give what labels tell of standardised rows (m, d) as the blend takes it, (m,)."""
        likeness = soft_mean(cosines)
        if self.surroundings is None or self.usual is None:
            return likeness
        near = self.surroundings.near(standard)
        compared = relative(likeness, self.usual[near], float(self.usual.var()))
        return compared if self.discriminant is None else self.discriminant.of(compared, standard, near)


SCORERS: dict[str, type] = {
    "inductive": InductiveScorer,
    "labelled": LabelledScorer,
    "adaptive": AdaptiveScorer,
    "transductive": TransductiveScorer,
}


def batch_probability(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn the scores of a batch into the published output: the sigmoid of their z-score within the batch.

    Parameters
    ----------
    scores : ndarray of shape (m,)
        Anomaly scores of one batch.

    Returns
    -------
    ndarray of shape (m,)
        In (0, 1); 0.5 for a batch of one.
    """
    deviation = scores.std()
    return np.asarray(1 / (1 + np.exp(-(scores - scores.mean()) / (deviation if deviation > 0 else 1))))
