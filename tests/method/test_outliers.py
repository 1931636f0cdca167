import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.method.gaussian import fit_shrunk
from msde.method.outliers import LIMIT, _distances_from_the_others, outlyingness


def test_rows_of_another_kind_are_doubted(rng):
    rows = rng.normal(size=(210, 10))
    rows[200:] += 3
    doubted = outlyingness(rows) > LIMIT
    assert doubted[200:].mean() > 0.9
    assert doubted[:200].mean() < 0.15


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_order_of_the_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(60, 5))
    order = rng.permutation(60)
    np.testing.assert_allclose(outlyingness(rows[order]), outlyingness(rows)[order], atol=1e-8)


@pytest.mark.parametrize("rows", [np.ones((60, 3)), np.eye(60)[:, :3], np.zeros((5, 2)), np.eye(3)])
def test_degenerate_rows_have_finite_doubts(rows):
    assert np.all(np.isfinite(outlyingness(rows)))


def test_leaving_a_row_out_in_closed_form_is_leaving_it_out(rng):
    # Many rows of unequal variances: the shrinkage, which the closed form holds, is next to nothing.
    rows = rng.normal(size=(400, 4)) * [1, 5, 20, 50]
    closed = _distances_from_the_others(rows, np.ones(400, bool))
    for i in range(5):
        gaussian, _ = fit_shrunk(np.delete(rows, i, axis=0))
        assert closed[i] == pytest.approx(gaussian.mahalanobis(rows[i : i + 1])[0] ** 2, rel=2e-3)
