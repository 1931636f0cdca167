import numpy as np
import pytest

from msde.scorer import Standardizer, batch_probability


def test_standardised_normals_have_mean_0_and_deviation_1(rng):
    rows = rng.normal(5, 3, size=(50, 4))
    standard = Standardizer.fit(rows).apply(rows)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(standard.std(axis=0), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_is_only_centred(dtype):
    rows = np.full((30, 2), 0.1, dtype=dtype)
    np.testing.assert_allclose(Standardizer.fit(rows).apply(rows + 1), 1, rtol=1e-5)


def test_one_score_alone_is_one_half_as_published():
    assert batch_probability(np.array([17.0])) == 0.5


def test_the_published_output_keeps_the_order(rng):
    scores = rng.normal(size=30)
    np.testing.assert_array_equal(np.argsort(batch_probability(scores)), np.argsort(scores))
