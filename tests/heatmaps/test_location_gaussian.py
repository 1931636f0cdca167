from dataclasses import replace

import numpy as np
import pytest

from msde.heatmaps.location_gaussian import LocationGaussian


def test_normals_lie_at_about_the_root_of_the_number_of_axes(rng):
    maps = (rng.normal(size=(400, 3, 3, 9)) * np.arange(1, 10)).astype(np.float32)
    distances = LocationGaussian.fit(maps).distances(maps)
    assert distances.shape == (400, 3, 3)
    assert abs((distances**2).mean() / 9 - 1) < 0.1


def test_a_place_is_compared_with_itself(rng):
    maps = rng.normal(size=(50, 2, 2, 4)).astype(np.float32)
    maps[:, 0, 0] += 20
    gaussian = LocationGaussian.fit(maps)
    swapped = maps[:1, ::-1, ::-1]
    distances = gaussian.distances(swapped)[0]
    assert min(distances[0, 0], distances[1, 1]) > 5 * max(distances[0, 1], distances[1, 0])


def test_normals_that_are_all_alike_give_finite_distances():
    gaussian = LocationGaussian.fit(np.full((5, 2, 2, 3), 0.25, np.float32))
    distances = gaussian.distances(np.full((1, 2, 2, 3), 0.5, np.float32))
    assert np.isfinite(distances).all()
    assert (distances > 0).all()


def test_arrays_that_would_have_to_be_stretched_are_refused(rng):
    gaussian = LocationGaussian.fit(rng.normal(size=(9, 2, 2, 4)).astype(np.float32))
    for shorter in (gaussian.whitening[:1], gaussian.whitening[..., :1], gaussian.whitening[:, :, 0]):
        with pytest.raises(ValueError, match="do not go with"):
            replace(gaussian, whitening=shorter)
