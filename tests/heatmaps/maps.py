"""Made-up feature maps."""

import numpy as np

from msde.heatmaps.feature_maps import PackedMaps


def made_up(n, seed=0):
    """Random maps on grids of three sizes."""
    rng = np.random.default_rng(seed)
    shapes = [(n, 6, 6, 12), (n, 3, 3, 20), (n, 14, 14, 1)]
    return PackedMaps(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))
