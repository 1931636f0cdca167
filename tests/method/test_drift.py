import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from msde.method.drift import measure_drift


def test_the_distance_is_that_of_scipy(rng):
    calibration, incoming = rng.normal(size=80), rng.normal(0.5, 1, size=50)
    expected = ks_2samp(calibration, incoming).statistic
    assert measure_drift(np.sort(calibration), incoming).distance == pytest.approx(expected)


def test_a_moved_population_is_found(rng):
    assert measure_drift(np.sort(rng.normal(size=200)), rng.normal(1.5, 1, size=100)).found


def test_the_same_population_with_some_abnormal_images_is_not():
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        incoming = rng.normal(size=100)
        incoming[:10] += 9
        found += measure_drift(np.sort(rng.normal(size=200)), incoming).found
    assert found <= 2


@given(st.integers(0, 2**32 - 1), st.integers(1, 50), st.integers(1, 50))
def test_distances_are_shares(seed, n, m):
    rng = np.random.default_rng(seed)
    drift = measure_drift(np.sort(rng.normal(size=n)), rng.normal(size=m))
    assert 0 <= drift.distance <= 1
    assert 0 < drift.explained <= 1


def test_one_image_alone_is_no_drift(rng):
    assert not measure_drift(np.sort(rng.normal(size=500)), np.array([99.0])).found


def test_nothing_to_compare_is_no_drift():
    assert not measure_drift(np.empty(0), np.ones(50)).found
    assert not measure_drift(np.ones(50), np.array([np.nan])).found
