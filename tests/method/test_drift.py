from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from msde.method.drift import ABNORMAL_SHARE, measure_drift

N, M = 300, 50
"""Calibrating normals and incoming images of docs/guarantees.md."""


def move_to(rate):
    """How far scores rise where the false-alarm rate does, from .05."""
    return NormalDist().inv_cdf(rate) - NormalDist().inv_cdf(0.05)


def found(n_draws, incoming, **settings):
    """How often drift is found among incoming scores, given a generator."""
    drifts = (
        measure_drift(rng.normal(size=N), incoming(rng), **settings)
        for rng in map(np.random.default_rng, range(n_draws))
    )
    return np.mean([drift.found for drift in drifts])


def test_lower_scores_are_as_far_as_scipy_says(rng):
    calibration, incoming = rng.normal(size=80), rng.normal(-1.5, 1, size=50)
    drift = measure_drift(calibration, incoming)
    assert not drift.higher
    assert drift.distance == pytest.approx(ks_2samp(incoming, calibration, alternative="greater").statistic)


def test_higher_scores_are_as_far_as_abnormal_images_do_not_explain(rng):
    calibration, incoming = rng.normal(size=80), rng.normal(1.5, 1, size=50)
    shares = [np.mean(scores <= t) for t in calibration for scores in (calibration, incoming)]
    expected = max(0.9 * before - now for before, now in zip(shares[::2], shares[1::2], strict=True))
    drift = measure_drift(calibration, incoming)
    assert drift.higher
    assert drift.distance == pytest.approx(expected)


def test_a_false_alarm_rate_of_a_fifth_is_found_more_often_than_not():
    assert found(400, lambda rng: rng.normal(move_to(0.2), 1, size=M)) > 0.5


def test_the_same_population_with_some_abnormal_images_is_no_drift():
    def incoming(rng):
        return np.where(rng.random(M) < ABNORMAL_SHARE, 9, rng.normal(size=M))

    assert found(1000, incoming) <= 0.002


@pytest.mark.slow
@pytest.mark.parametrize("within", [0.4, 0.7, 0.9])
@pytest.mark.parametrize("n_volumes", [1, 10])
def test_normal_volumes_are_no_drift(within, n_volumes):
    def incoming(rng):
        own = np.repeat(rng.normal(size=n_volumes), 30)
        return np.sqrt(within) * own + np.sqrt(1 - within) * rng.normal(size=len(own))

    groups = np.repeat(np.arange(n_volumes), 30)
    assert found(300, incoming, incoming_groups=groups) <= 0.01
    if n_volumes == 1:
        assert found(300, incoming) > 0.1  # counted as thirty independent images


def test_calibrating_volumes_count_as_one_each(rng):
    own = np.repeat(rng.normal(size=10), 30)
    calibration, incoming = 0.9 * own + 0.4 * rng.normal(size=300), rng.normal(size=100)
    alone, grouped = (
        measure_drift(calibration, incoming, calibration_groups=groups) for groups in (None, np.repeat(range(10), 30))
    )
    assert grouped.explained > 2 * alone.explained


def test_groups_of_one_are_no_groups(rng):
    calibration, incoming = rng.normal(size=80), rng.normal(0.5, 1, size=50)
    grouped = measure_drift(
        calibration, incoming, calibration_groups=rng.permutation(80), incoming_groups=list(map(str, range(50)))
    )
    assert grouped.distance == pytest.approx(measure_drift(calibration, incoming).distance)
    assert grouped.explained == measure_drift(calibration, incoming).explained


def test_what_may_go_unseen_shrinks_with_more_images_and_is_found_beyond(rng):
    rates = [measure_drift(rng.normal(size=N), rng.normal(size=m)).unseen_rate(0.05) for m in (1, 20, 50, 500)]
    assert rates[0] == 1
    assert sorted(rates, reverse=True) == rates
    assert 0.05 < rates[-1] < 0.2
    assert found(200, lambda rng: rng.normal(move_to(rates[2]), 1, size=M)) > 0.5


@given(st.integers(0, 2**32 - 1), st.integers(1, 50), st.integers(1, 50), st.integers(1, 10))
def test_distances_are_shares_and_the_order_does_not_matter(seed, n, m, n_groups):
    rng = np.random.default_rng(seed)
    calibration, incoming, groups = rng.normal(size=n), rng.normal(size=m), rng.integers(n_groups, size=m)
    drift = measure_drift(calibration, incoming, incoming_groups=groups)
    assert 0 <= drift.distance <= 1
    assert 0 < drift.explained <= 1
    assert drift.n_units == len(np.unique(groups))
    order = rng.permutation(m)
    again = measure_drift(rng.permutation(calibration), incoming[order], incoming_groups=groups[order])
    assert again.distance == pytest.approx(drift.distance)


def test_one_image_alone_is_no_drift(rng):
    assert not measure_drift(rng.normal(size=500), np.array([99.0])).found


def test_nothing_to_compare_is_no_drift():
    assert not measure_drift(np.empty(0), np.ones(50)).found
    assert not measure_drift(np.ones(50), np.array([np.nan])).found
