import numpy as np
from tests.heatmaps.maps import made_up

from msde.backbones.raw_maps import RawMaps
from msde.heatmaps.feature_maps import PackedMaps


def test_large_maps_are_reduced(rng):
    sizes = (2, 3, 112, 112), (2, 700, 28, 28), (2, 40, 7, 7)
    seen = PackedMaps.of(RawMaps(*(rng.uniform(size=size).astype(np.float32) for size in sizes)))
    assert seen.shapes() == [(14, 14, 320), (7, 7, 40), (56, 56, 1)]


def test_packing_can_be_undone():
    seen = made_up(3)
    again = PackedMaps.unpacked(seen.packed(), seen.shapes())
    for before, after in zip(seen, again, strict=True):
        np.testing.assert_array_equal(before, after)
