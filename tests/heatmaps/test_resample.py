import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.heatmaps.resample import enlarged, shrunk, smoothed


def test_blocks_are_averaged():
    maps = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(shrunk(maps, 2)[0, ..., 0], [[2.5, 4.5], [10.5, 12.5]])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_sizes_stay_below_the_limit_and_constants_stay(height, width, side):
    small = shrunk(np.full((2, height, width, 3), 7, np.float32), side)
    assert max(small.shape[1:3]) <= side
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, 7, rtol=1e-6)


@given(st.integers(1, 20), st.integers(1, 60))
def test_interpolation_keeps_constants_and_the_range(size, side):
    rng = np.random.default_rng(size)
    maps = np.concatenate([np.full((1, size, size), 3.0), rng.uniform(-1, 1, (1, size, size))]).astype(np.float32)
    large = enlarged(maps, side)
    assert large.shape == (2, side, side)
    np.testing.assert_allclose(large[0], 3, rtol=1e-5)
    assert np.abs(large[1]).max() <= 1 + 1e-5


def test_a_map_of_the_right_size_is_left_as_it_is(rng):
    maps = rng.normal(size=(1, 5, 5)).astype(np.float32)
    assert enlarged(maps, 5) is maps


def test_smoothing_averages_the_nine_places_around():
    maps = np.zeros((1, 5, 5, 1), np.float32)
    maps[0, 2, 2] = 9
    expected = np.zeros((5, 5))
    expected[1:4, 1:4] = 1
    np.testing.assert_allclose(smoothed(maps)[0, ..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 1, 7, 3)])
def test_smoothing_repeats_the_border(shape):
    np.testing.assert_allclose(smoothed(np.full(shape, 2, np.float32)), 2, rtol=1e-6)
