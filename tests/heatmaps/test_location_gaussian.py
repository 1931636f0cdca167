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


@pytest.mark.parametrize("q", [1, 7])
def test_cross_fitting_is_a_fit_to_the_others(rng, q):
    maps = (5 + rng.normal(size=(40, 3, 4, q)) * np.arange(1, q + 1)).astype(np.float32)
    folds = [np.arange(9), np.array([20, 11])]
    fitted, held_out = LocationGaussian.cross_fitted(maps, folds)
    np.testing.assert_array_equal(fitted.whitening, LocationGaussian.fit(maps).whitening)
    for rows, distances in zip(folds, held_out, strict=True):
        plain = LocationGaussian.fit(np.delete(maps, rows, axis=0)).distances(maps[rows])
        np.testing.assert_allclose(distances, plain, rtol=3e-3)  # as far as half precision goes
