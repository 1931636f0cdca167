"""The Gaussian that the benchmarks compare with, and how they draw pools and scored rows from a set."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from embeddings import Embeddings

from msde.method.gaussian import fit_ledoit_wolf
from msde.method.standardizer import Standardizer

Score = Callable[[np.ndarray], np.ndarray]


def plain(normals: np.ndarray) -> Score:
    standardizer = Standardizer.fit(normals)
    gaussian = fit_ledoit_wolf(standardizer.apply(normals))
    return lambda rows: gaussian.mahalanobis(standardizer.apply(rows))


def halves(rng: np.random.Generator, normal: Embeddings, abnormal: Embeddings) -> Iterator[list[np.ndarray]]:
    """Split normal and abnormal rows by patient; yield [normals, abnormals] of either half."""
    patients = rng.permutation(np.union1d(normal.patients, abnormal.patients))
    first = patients[: len(patients) // 2]
    for side in (True, False):
        yield [part.rows[np.isin(part.patients, first) == side] for part in (normal, abnormal)]


def mixture(rng: np.random.Generator, parts: list[np.ndarray], share: float) -> list[np.ndarray]:
    """Draw normals and abnormals at the share, as many as there are; at least one abnormal."""
    normal, abnormal = (rng.permutation(part) for part in parts)
    n_abnormal = max(1, min(len(abnormal), round(share * len(normal) / (1 - share))))
    n_normal = min(len(normal), round(n_abnormal * (1 - share) / share)) if share >= 0.2 else len(normal)
    return [normal[:n_normal], abnormal[:n_abnormal]]
