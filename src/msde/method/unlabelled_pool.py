"""What an unlabelled pool of images tells about normals and abnormals, frozen at fit.

A pool differs from the training normals for two reasons: its normals come from other patients or machines, and some of
its images are abnormal. The first moves all of its rows, the second only some, which lie far out. So the pool gives a
direction, in which its own outer rows lie from its inner ones, and that is believed as far as the pool's mean has moved
in it. The density ratio of a pool to normals is the optimal score in theory (Blanchard, Lee, Scott, "Semi-supervised
novelty detection", JMLR 11:2973, 2010) and does harm where few of the pool are abnormal. docs/guarantees.md gives the
measurements, docs/ideas.md what lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced
from msde.method.gaussian import Gaussian

LARGEST_WEIGHT = 0.4
HALF_OPEN = 0.25
STEEPNESS = 16
SHUT = 0.001
N_HALVINGS = 8
SMALLEST_POOL = 8
FEWEST_BLOCKS = 4
MOST_ROWS = 2000  # whose neighbours are searched
N_FOLDS = 5
CHANCE = 0.5
ALL_CONFIRMED = 0.75

_FORMER_HALF_OPEN = 0.2
_FORMER_STEEPNESS = 4
_TINY = float(np.finfo(np.float64).tiny)

White = NDArray[np.float64]


@dataclass(frozen=True)
class Direction:
    """The direction in which a pool's outer rows lie, and how far it is to be believed.

    Parameters
    ----------
    origin : ndarray of shape (d,), float64
        Mean of the normals.
    axis : ndarray of shape (d,), float64
        Unit variance along it under the Gaussian of the normals.
    evidence : float
        Agreement of the pool's mean shift with its own outer rows, a cosine in [0, 1].
    weight : float or None
        What a deviation along the axis adds to a distance, at least 0, and 0 while the gate is shut. None in older
        model files, whose scores mix both by a `gate`.
    """

    origin: NDArray[np.float64]
    axis: NDArray[np.float64]
    evidence: float
    weight: float | None = None

    @property
    def gate(self) -> float:
        """Share of the direction in the scores of older model files, in [0, 1]."""
        return _opening(self.evidence, len(self.axis), _FORMER_HALF_OPEN, _FORMER_STEEPNESS)

    def along(self, rows: FloatArray) -> NDArray[np.float64]:
        """Measure how far rows of shape (m, d) lie in this direction, in deviations of the normals."""
        return (rows - self.origin) @ self.axis


def fit_direction(gaussian: Gaussian, pool: FloatArray, weight: float | None = None) -> Direction:
    """Learn what the abnormal rows of a pool share, if there are any.

    Parameters
    ----------
    gaussian : Gaussian
        Of the normals, in d dimensions.
    pool : ndarray of shape (m, d)
        Unlabelled rows, measured as the normals are.
    weight : float, optional
        Of the direction; by default by its evidence.

    Returns
    -------
    Direction
        From the pool's inner half to its outer half, so that a change common to all of the pool cancels.
    """
    whitening = gaussian.whitening_of_all
    white = (pool - gaussian.mean) @ whitening
    evidence = pool_evidence(white)
    if weight is None:
        opening = _opening(evidence, white.shape[1], HALF_OPEN, STEEPNESS)
        weight = LARGEST_WEIGHT * opening if opening > SHUT else 0.0
    return Direction(gaussian.mean, whitening @ _unit_contrast(white), evidence, weight)


def held_out_along(gaussian: Gaussian, pool: FloatArray) -> NDArray[np.float64]:
    """Measure each row of a pool in the direction of the other rows.

    Parameters
    ----------
    gaussian, pool
        As in :func:`fit_direction`; neighbouring rows are held out together.

    Returns
    -------
    ndarray of shape (m,), float64
    """
    white = (pool - gaussian.mean) @ gaussian.whitening_of_all
    along = np.zeros(len(white))
    for fold in np.array_split(np.arange(len(white)), N_FOLDS):
        others = np.delete(white, fold, axis=0)
        if len(fold) and len(others):
            along[fold] = white[fold] @ _unit_contrast(others)
    return along


def confirmed(gaussian: Gaussian, pool: FloatArray, labelled: FloatArray, patients: IndexArray) -> float:
    """Tell how far labelled abnormal rows confirm that the direction of a pool points at disease, in [0, 1].

    Where it points at another machine, labelled rows lie along it as the others of the pool do, or nearer; where it
    points at disease, farther out than most. A labelled patient lies farther than a share of the pool: of a mean share
    of a half nothing is confirmed, of three quarters, which is what half a pool of abnormal rows leaves to disease,
    all.

    Parameters
    ----------
    gaussian, pool
        As in :func:`fit_direction`; no row of the pool is of a labelled image. Each row of it is held out.
    labelled : ndarray of shape (k, d)
        Labelled abnormal rows, measured as the normals are.
    patients : ndarray of shape (k,), int
        Number of the patient of each.

    Returns
    -------
    float
    """
    whitening = gaussian.whitening_of_all
    along_labelled = (labelled - gaussian.mean) @ (whitening @ _unit_contrast((pool - gaussian.mean) @ whitening))
    others = np.sort(held_out_along(gaussian, pool))
    shares = np.searchsorted(others, along_labelled) / max(len(others), 1)
    of_patients = [shares[patients == patient].mean() for patient in np.unique(patients)]
    return float(np.clip((np.mean(of_patients) - CHANCE) / (ALL_CONFIRMED - CHANCE), 0, 1))


def pool_evidence(white: White) -> float:
    """Measure whether a pool's mean has moved towards its own outer rows.

    The shift comes from one half of the pool, the contrast of outer and inner rows from the other, so that noise
    averages out; the contrast is taken around the inner rows, so that a shift common to all rows cancels. Rows go to a
    half with their nearest neighbours, since the images of one odd patient would agree with each other.

    Parameters
    ----------
    white : ndarray of shape (m, d)
        Pool, whitened by the normals; of more than 2,000 rows so many, evenly spaced, are looked at.

    Returns
    -------
    float
        Mean cosine over random halvings, negative ones cut to 0; 0 for fewer than 8 rows. The order of the rows does
        not matter.
    """
    white = white[evenly_spaced(len(white), MOST_ROWS)] if len(white) else white
    white = white[np.argsort(np.einsum("ij,ij->i", white, white), kind="stable")]
    if len(white) < SMALLEST_POOL or (n_blocks := (blocks := _blocks(white)).max() + 1) < FEWEST_BLOCKS:
        return 0.0
    rng = np.random.default_rng(0)
    cosines = []
    for _ in range(N_HALVINGS):
        first = np.isin(blocks, rng.permutation(n_blocks)[: n_blocks // 2])
        one, other = white[first], white[~first]
        cosines += [_agreement(one, other), _agreement(other, one)]
    return max(float(np.mean(cosines)), 0.0)


def _opening(evidence: float, d: int, half_open: float, steepness: int) -> float:
    # Directions without relation have a cosine of deviation 1 / sqrt(d), which must not pass for evidence.
    half = max(half_open, 2 / np.sqrt(d)) ** steepness
    return float(evidence**steepness / (evidence**steepness + half))


def _blocks(white: White) -> IndexArray:
    """Give each row the number of its block: rows that lead to each other by nearest neighbours."""
    squared = np.einsum("ij,ij->i", white, white)
    distances = squared - 2 * white @ white.T  # less those of the row itself, the same for all
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    ends = nearest
    for _ in range(len(white).bit_length()):
        ends = ends[ends]
    # The way from neighbour to neighbour ends in two that are nearest to each other.
    return np.unique(np.minimum(ends, nearest[ends]), return_inverse=True)[1]


def _agreement(one: White, other: White) -> float:
    return float(_unit(one.mean(axis=0)) @ _unit(_outer_minus_inner(other, centre=one[~_outer(one)].mean(axis=0))))


def _unit_contrast(white: White) -> NDArray[np.float64]:
    return _unit(_outer_minus_inner(white, centre=white[~_outer(white)].mean(axis=0)))


def _outer_minus_inner(rows: White, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    outer = _outer(rows - centre)
    if not outer.any():
        return np.zeros(rows.shape[1])
    return rows[outer].mean(axis=0) - rows[~outer].mean(axis=0)


def _outer(rows: White) -> NDArray[np.bool_]:
    squared = np.einsum("ij,ij->i", rows, rows)
    return squared > np.median(squared)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / max(float(np.linalg.norm(vector)), _TINY)
