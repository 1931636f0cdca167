import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import false_discovery_control

from msde.method.calibration import Calibration
from msde.method.false_discoveries import discoveries

p_values = arrays(float, st.integers(1, 40), elements=st.integers(1, 60).map(lambda k: k / 60))
rates = st.sampled_from([0.01, 0.05, 0.1, 0.3, 0.9])


@given(p_values, rates)
def test_discoveries_are_those_of_scipy(values, rate):
    adjusted = false_discovery_control(values)
    clear = np.abs(adjusted - rate) > 1e-12
    np.testing.assert_array_equal(discoveries(values, rate)[clear], (adjusted <= rate)[clear])


@given(p_values, rates, st.integers(0, 5))
def test_what_has_no_p_value_changes_nothing(values, rate, n_missing):
    found = discoveries(np.append(values, np.full(n_missing, np.nan)), rate)
    np.testing.assert_array_equal(found, np.append(discoveries(values, rate), np.zeros(n_missing, bool)))


@given(p_values, rates)
def test_a_lower_p_value_is_a_discovery_where_a_higher_one_is(values, rate):
    found = discoveries(values, rate)
    assert not found.any() or values[found].max() < values[~found].min(initial=2)


def test_nothing_is_discovered_among_nothing():
    assert discoveries(np.full(3, np.nan), 0.1).tolist() == [False] * 3
    assert len(discoveries(np.empty(0), 0.1)) == 0


@pytest.mark.parametrize("rate", [0.1, 0.2])
def test_few_discoveries_are_false_though_all_share_a_calibration(rng, rate):
    shares, found = [], []
    for _ in range(400):
        calibration = Calibration(np.sort(rng.normal(size=300)), 0.05, "test")
        scores = np.concatenate([rng.normal(size=80), rng.normal(4, 1, size=20)])
        chosen = discoveries(calibration.p_values(scores), rate)
        shares.append(chosen[:80].sum() / max(chosen.sum(), 1))
        found.append(chosen[80:].mean())
    assert np.mean(shares) <= rate
    assert np.mean(found) > 0.5
