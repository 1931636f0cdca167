"""What an unlabelled pool of images tells about normals and abnormals, frozen at fit.

A pool differs from the training normals for two reasons: its normals come from other patients or machines, and some of
its images are abnormal. The first moves all of its rows, the second only some, which lie far out. So the two are told
apart by whether the pool's mean has moved towards where the pool's own outer rows lie. The density ratio of a pool to
normals is the optimal score in theory (Blanchard, Lee, Scott, "Semi-supervised novelty detection", JMLR 11:2973, 2010)
and does harm where few of the pool are abnormal. docs/method.md gives the measurements, docs/ideas.md what lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray
from msde.method.gaussian import Gaussian, fit_ledoit_wolf

JOINING_SHARE = 0.7
HALF_OPEN = 0.2
STEEPNESS = 4
N_HALVINGS = 8
SMALLEST_POOL = 8


@dataclass(frozen=True)
class Direction:
    """The direction in which a pool leaves the normals, and how far it is to be believed.

    Parameters
    ----------
    origin : ndarray of shape (d,), float64
        Mean of the normals.
    axis : ndarray of shape (d,), float64
        Linear discriminant of the pool against the normals; unit variance under the normals.
    evidence : float
        Agreement of the pool's mean shift with its own outer rows, a cosine in [0, 1].
    """

    origin: NDArray[np.float64]
    axis: NDArray[np.float64]
    evidence: float

    @property
    def gate(self) -> float:
        """Weight of the direction against the distance, in [0, 1]."""
        # Directions without relation have a cosine of deviation 1 / sqrt(d), which must not pass for evidence.
        half_open = max(HALF_OPEN, 2 / np.sqrt(len(self.axis)))
        opened = self.evidence**STEEPNESS
        return float(opened / (opened + half_open**STEEPNESS))

    def along(self, rows: FloatArray) -> NDArray[np.float64]:
        """Measure how far rows of shape (m, d) lie in this direction, in deviations of the normals."""
        return (rows - self.origin) @ self.axis


def fit_adaptive(
    normals: FloatArray, pool: FloatArray, trusted: NDArray[np.bool_] | None = None
) -> tuple[Gaussian, Direction]:
    """Learn from normals and an unlabelled pool.

    Parameters
    ----------
    normals : ndarray of shape (n, d)
        Standardised normals.
    pool : ndarray of shape (m, d)
        Unlabelled rows, standardised by the normals.
    trusted : ndarray of shape (n,), optional
        The normals that the Gaussian is fitted to; by default all. The direction is taken against all of them: without
        its outer normals the cloud is narrower, and a pool of normals would seem to leave it.

    Returns
    -------
    gaussian : Gaussian
        Of the trusted normals joined by the inner 70 % of the pool, which takes over a change of the normals.
    direction : Direction
        What the pool's abnormal rows share, if there are any.
    """
    own = fit_ledoit_wolf(normals)
    whitening = own.whitening_of_all
    white = (pool - own.mean) @ whitening
    squared = np.einsum("ij,ij->i", white, white)
    inner = np.argsort(squared, kind="stable")[: round(JOINING_SHARE * len(pool))]
    moved = white.mean(axis=0)
    axis = whitening @ (moved / max(float(np.linalg.norm(moved)), np.finfo(np.float64).tiny))
    joined = np.vstack([normals if trusted is None else normals[trusted], pool[inner]])
    return fit_ledoit_wolf(joined), Direction(own.mean, axis, pool_evidence(white))


def pool_evidence(white: NDArray[np.float64]) -> float:
    """Measure whether a pool's mean has moved towards its own outer rows.

    The shift comes from one half of the pool, the contrast of outer and inner rows from the other, so that noise
    averages out; the contrast is taken around the inner rows, so that a shift common to all rows cancels.

    Parameters
    ----------
    white : ndarray of shape (m, d)
        Pool, whitened by the normals.

    Returns
    -------
    float
        Mean cosine over random halvings, negative ones cut to 0; 0 for fewer than 8 rows. The order of the rows does
        not matter.
    """
    if len(white) < SMALLEST_POOL:
        return 0.0
    white = white[np.argsort(np.einsum("ij,ij->i", white, white), kind="stable")]
    rng = np.random.default_rng(0)
    cosines = []
    for _ in range(N_HALVINGS):
        shuffled = rng.permutation(white)
        one, other = shuffled[: len(white) // 2], shuffled[len(white) // 2 :]
        cosines += [_agreement(one, other), _agreement(other, one)]
    return max(float(np.mean(cosines)), 0.0)


def _agreement(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    shift = one.mean(axis=0)
    contrast = _outer_minus_inner(other, centre=one[~_outer(one)].mean(axis=0))
    lengths = float(np.linalg.norm(shift) * np.linalg.norm(contrast))
    return float(shift @ contrast) / max(lengths, np.finfo(np.float64).tiny)


def _outer(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    squared = np.einsum("ij,ij->i", rows, rows)
    return squared > np.median(squared)


def _outer_minus_inner(rows: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    outer = _outer(rows - centre)
    if not outer.any():
        return np.zeros(rows.shape[1])
    return rows[outer].mean(axis=0) - rows[~outer].mean(axis=0)
