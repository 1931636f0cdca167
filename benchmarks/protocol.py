"""The Gaussian that the benchmarks compare with, and how they draw pools and batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from msde.benchmark.draws import Subset, at_share
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.standardizer import Standardizer

Score = Callable[[np.ndarray], np.ndarray]


def plain(normals: np.ndarray) -> Score:
    standardizer = Standardizer.fit(normals)
    gaussian = fit_ledoit_wolf(standardizer.apply(normals))
    return lambda rows: gaussian.mahalanobis(standardizer.apply(rows))


def mixture(rng: np.random.Generator, tested: list[Subset], share: float) -> list[np.ndarray]:
    """Draw rows of normals and abnormals at the share; below 20 % every normal is kept."""
    return [subset.rows for subset in at_share(rng, tested, share, every_normal=share < 0.2)]
