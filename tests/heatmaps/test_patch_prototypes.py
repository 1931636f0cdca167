import numpy as np

from msde.heatmaps.patch_prototypes import KEPT, PatchPrototypes, spread_patches
from msde.method.mean_shift import shift


def test_memory_is_bounded(rng):
    assert PatchPrototypes.fit(rng.normal(size=(150, 3, 3, 4)).astype(np.float32)).rows.shape == (KEPT, 4)


def test_patches_among_the_normals_are_near_and_others_far(rng):
    groups = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0]])
    maps = (groups[rng.integers(3, size=(40, 3, 3))] + rng.normal(size=(40, 3, 3, 3)) * 0.1).astype(np.float32)
    modes = PatchPrototypes.fit(maps)
    near = modes.distances((groups[:, None, None] + np.zeros((3, 1, 1, 3))).astype(np.float32))
    far = modes.distances(np.full((1, 1, 1, 3), 5, np.float32))
    assert near.shape == (3, 1, 1)
    assert near.max() < 0.5 < 5 < far.min()


def test_fewer_patches_than_neighbours_are_no_error(rng):
    modes = PatchPrototypes.fit(rng.normal(size=(2, 1, 1, 3)).astype(np.float32))
    assert modes.distances(np.zeros((1, 1, 1, 3), np.float32)).shape == (1, 1, 1)


def test_each_fold_is_shifted_as_if_its_images_were_not_there(rng):
    maps = rng.normal(size=(30, 3, 3, 6)).astype(np.float32)
    maps[:8] = maps[:1] + 0.01 * rng.normal(size=(8, 3, 3, 6))  # of one patient: nearly all neighbours go with it
    patches, images = spread_patches(maps)
    folds = [np.arange(7), np.arange(20, 25)]
    everything, without = PatchPrototypes.cross_fitted(patches, images, folds)
    lefts = [patches, *(patches[~np.isin(images, rows)] for rows in folds)]
    for modes, left in zip([everything, *without], lefts, strict=True):
        _, plain, _ = shift(left, np.ones(len(left)), n_neighbors=5, max_iter=2)
        np.testing.assert_allclose(modes.rows, plain, atol=2e-3)
