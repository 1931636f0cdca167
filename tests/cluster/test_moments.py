import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.cluster.moments import Moments
from msde.method.gaussian import fit_ledoit_wolf


@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.integers(1, 12), st.integers(0, 60))
def test_moments_of_parts_give_the_gaussian_of_all_rows(seed, n, d, cut):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)) * rng.uniform(0.3, 2, d) + rng.normal(size=d)
    merged = (Moments.of(rows[:cut]) + Moments.of(rows[cut:])).gaussian()
    expected = fit_ledoit_wolf(rows)
    assert merged.mean == pytest.approx(expected.mean, abs=1e-9)
    assert merged.mahalanobis(rows) == pytest.approx(expected.mahalanobis(rows), rel=1e-6)
