"""Detectors on patches of feature maps: PaDiM and a PatchCore-style nearest-patch search.

Sources: Defard et al., "PaDiM", ICPR workshops 2020 (arXiv 2011.08785); Roth et al., "Towards total recall in
industrial anomaly detection", CVPR 2022 (arXiv 2106.08265).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from msde.benchmark.detectors import Lesson, Rows, Score

Floats = NDArray[np.float32]

PADIM_CHANNELS = 100
PADIM_RIDGE = 0.01
CORE_SHARE = 0.01
CORE_LARGEST = 2000
CANDIDATES = 50_000
PROJECTED = 64
_BLOCK = 64  # images scored at once


def fit_padim(lesson: Lesson) -> Score:
    """Fit a Gaussian at each place over channels drawn at random; an image scores as its most abnormal place."""
    rng = np.random.default_rng(lesson.seed)
    channels = np.sort(rng.permutation(lesson.normals.shape[2])[:PADIM_CHANNELS])
    normals = lesson.normals[:, :, channels].astype(np.float32)
    means = normals.mean(axis=0)
    whitenings = np.empty((normals.shape[1], len(channels), len(channels)), np.float32)
    for place in range(normals.shape[1]):
        offsets = (normals[:, place] - means[place]).astype(np.float64)
        covariance = offsets.T @ offsets / max(len(offsets) - 1, 1) + PADIM_RIDGE * np.eye(len(channels))
        whitenings[place] = np.linalg.inv(np.linalg.cholesky(covariance)).T

    def block(rows: Rows) -> Floats:
        offsets = rows[:, :, channels].astype(np.float32) - means
        white = np.matmul(offsets.transpose(1, 0, 2), whitenings)
        return np.sqrt(np.einsum("pic,pic->ip", white, white)).max(axis=1)

    return lambda rows: _in_blocks(block, rows)


def fit_patchcore(lesson: Lesson) -> Score:
    """Keep a core set of the normals' patches; an image scores as its patch farthest from the core set."""
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(lesson.seed)
    bank = lesson.normals.reshape(-1, lesson.normals.shape[2])
    bank = bank[np.sort(rng.permutation(len(bank))[:CANDIDATES])].astype(np.float32)
    size = int(np.clip(CORE_SHARE * lesson.normals.shape[0] * lesson.normals.shape[1], 1, CORE_LARGEST))
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(bank[_core(bank, min(size, len(bank)), rng)])

    def block(rows: Rows) -> Floats:
        flat = rows.reshape(-1, rows.shape[2]).astype(np.float32)
        distances: Floats = search.kneighbors(flat)[0][:, 0]
        return distances.reshape(rows.shape[:2]).max(axis=1)

    return lambda rows: _in_blocks(block, rows)


def _core(bank: Floats, size: int, rng: np.random.Generator) -> list[int]:
    """Choose patches greedily, each the farthest from those before, by a random projection."""
    projection = rng.normal(size=(bank.shape[1], min(PROJECTED, bank.shape[1]))).astype(np.float32)
    seen = bank @ projection
    squared = np.einsum("ij,ij->i", seen, seen)
    chosen = [int(rng.integers(len(bank)))]
    nearest = np.full(len(bank), np.inf, dtype=np.float32)
    while len(chosen) < size:
        last = chosen[-1]
        np.minimum(nearest, squared - 2 * (seen @ seen[last]) + squared[last], out=nearest)
        chosen.append(int(nearest.argmax()))
    return chosen


def _in_blocks(score: Callable[[Rows], Floats], rows: Rows) -> NDArray[np.float64]:
    parts = [score(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)]
    return np.concatenate(parts).astype(np.float64)
