import numpy as np
import pytest

from msde.method.standardizer import CompressingStandardizer, Standardizer


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
