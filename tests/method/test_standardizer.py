import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.method.standardizer import CompressingStandardizer, HeldOutStandardizer, Standardizer


@pytest.mark.parametrize("kind", [Standardizer, CompressingStandardizer])
def test_standardised_normals_have_mean_0_and_deviation_1(rng, kind):
    rows = rng.normal(5, 3, size=(50, 4))
    standard = kind.fit(rows).apply(rows)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(standard.std(axis=0), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_is_only_centred(dtype):
    rows = np.full((30, 2), 0.1, dtype=dtype)
    np.testing.assert_allclose(Standardizer.fit(rows).apply(rows + 1), 1, rtol=1e-5)
    assert np.all(np.isfinite(CompressingStandardizer.fit(rows).apply(rows + 1)))


def test_compressing_keeps_the_order_and_shortens_the_tail(rng):
    rows = rng.lognormal(sigma=1.5, size=(500, 1))
    plain, compressed = Standardizer.fit(rows).apply(rows), CompressingStandardizer.fit(rows).apply(rows)
    np.testing.assert_array_equal(np.argsort(plain[:, 0]), np.argsort(compressed[:, 0]))
    assert compressed.max() < plain.max()


@given(st.integers(0, 2**32 - 1), st.sampled_from([(60, 1), (60, 5), (25, 1)]))
@settings(max_examples=20)
def test_a_group_is_standardised_by_the_others(seed, shape):
    n, size = shape
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 6)) * rng.lognormal(size=6) + rng.normal(size=6) * 3
    whole = CompressingStandardizer.fit(rows)
    groups = np.arange(n).reshape(-1, size)
    held_out, deviations = HeldOutStandardizer.of(whole, rows).apply(groups)
    for number in (0, len(groups) - 1):
        out = np.isin(np.arange(n), groups[number])
        exact = CompressingStandardizer.fit(rows[~out]).apply(rows[out])
        others = whole.apply(rows[~out])
        np.testing.assert_allclose(deviations[number], others.std(axis=0), rtol=1e-9)
        found = (held_out[number] - others.mean(axis=0)) / deviations[number]
        np.testing.assert_allclose(found, exact, atol=0.08)
        assert np.abs(found - exact).mean() < 0.01


def test_features_that_vary_in_one_group_alone_stay_finite(rng):
    rows = np.zeros((12, 3))
    rows[0, 0] = 7
    rows[:, 1] = rng.normal(size=12)
    held_out, deviations = HeldOutStandardizer.of(CompressingStandardizer.fit(rows), rows).apply(np.arange(12)[:, None])
    assert np.isfinite(held_out).all()
    assert (deviations > 0).all()
