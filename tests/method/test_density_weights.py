import numpy as np
import pytest

from msde.method.density_weights import density_weights


def test_the_default_weights_do_not_depend_on_the_order_of_the_rows(rng):
    rows = rng.normal(size=(260, 6))
    order = rng.permutation(len(rows))
    np.testing.assert_array_equal(density_weights(rows[order]), density_weights(rows)[order])


def test_the_published_weights_do(rng):
    rows = rng.normal(size=(260, 6))
    order = rng.permutation(len(rows))
    assert np.any(density_weights(rows[order], "published") != density_weights(rows, "published")[order])


@pytest.mark.parametrize("weighting", ["density", "published", "uniform"])
@pytest.mark.parametrize("n", [2, 3, 14, 15, 16, 45, 46, 100, 101])
def test_every_number_of_rows_has_weights(rng, n, weighting):
    weights = density_weights(rng.normal(size=(n, 3)), weighting)
    assert weights.shape == (n,)
    assert np.all(np.isfinite(weights))
    assert np.all(weights >= 0)


@pytest.mark.parametrize("weighting", ["density", "published", "uniform"])
def test_identical_rows_have_equal_finite_weights(weighting):
    weights = density_weights(np.ones((60, 3)), weighting)
    assert np.all(np.isfinite(weights))


def test_an_unknown_weighting_is_named():
    with pytest.raises(ValueError, match="'heavy'"):
        density_weights(np.eye(3), "heavy")  # type: ignore[arg-type]


def test_published_weights_of_blocks_together_are_those_of_each(rng):
    rows = rng.normal(size=(1230, 6)).astype(np.float32)
    alone = [density_weights(rows[start : start + 100], "published") for start in range(0, 1200, 100)]
    together = density_weights(rows, "published")
    np.testing.assert_array_equal(together[:1200], np.concatenate(alone))
    np.testing.assert_array_equal(together[1200:], density_weights(rows[1200:], "published"))
