"""Made-up feature maps."""

import numpy as np

from msde.heatmaps.feature_maps import SIDE, PackedMaps
from msde.heatmaps.unit_tokens import UnitTokens


def made_up(n, seed=0):
    """Random maps on grids of three sizes."""
    rng = np.random.default_rng(seed)
    shapes = [(n, 6, 6, 12), (n, 3, 3, 20), (n, 14, 14, 1)]
    return PackedMaps(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def made_up_tokens(n, seed=0, grid=(9, 9), channels=24, axes=4):
    """Random tokens that vary along few axes, which are the same for all seeds, on images without a background."""
    basis = np.random.default_rng(0).normal(size=(axes + 1, channels))
    rng = np.random.default_rng(seed)
    tokens = (
        basis[0] + 0.3 * rng.normal(size=(n, *grid, axes)) @ basis[1:] + 0.05 * rng.normal(size=(n, *grid, channels))
    )
    tokens /= np.linalg.norm(tokens, axis=-1, keepdims=True)
    return UnitTokens(tokens.astype(np.float32), np.ones((n, SIDE, SIDE), np.float32))
