import numpy as np

from msde.heatmaps.projection import AXES, Projection


def test_axes_are_orthonormal_and_ordered(rng):
    maps = rng.normal(size=(20, 4, 4, 10)).astype(np.float32)
    maps[..., 1:4] += 3 * maps[..., :1]
    projection = Projection.fit(maps)
    np.testing.assert_allclose(projection.axes.T @ projection.axes, np.eye(10), atol=1e-5)
    variances = projection.apply(maps).var(axis=(0, 1, 2))
    assert (np.diff(variances) <= 1e-4).all()


def test_there_are_at_most_so_many_axes(rng):
    projection = Projection.fit(rng.normal(size=(10, 3, 3, AXES + 20)).astype(np.float32))
    assert projection.axes.shape == (AXES + 20, AXES)
