import numpy as np
import pytest
from tests.heatmaps.maps import made_up_tokens

from msde.heatmaps.subspace import Subspace

FOLDS = [np.arange(5)]


def test_axes_are_orthonormal_and_hold_the_variance():
    seen = made_up_tokens(40, axes=3)
    model, _ = Subspace.fit(seen, FOLDS, False)
    np.testing.assert_allclose(model.axes.T @ model.axes, np.eye(model.axes.shape[1]), atol=1e-5)
    offsets = seen.tokens.reshape(-1, 24) - seen.tokens.mean(axis=(0, 1, 2))
    left = offsets - offsets @ model.axes @ model.axes.T
    assert (left**2).sum() <= 0.011 * (offsets**2).sum()
    assert model.axes.shape[1] < 12


def test_at_most_half_of_the_axes_are_normal(rng):
    noise = made_up_tokens(40, axes=24)
    assert Subspace.fit(noise, FOLDS, False)[0].axes.shape == (24, 12)


def test_tokens_that_are_all_alike_give_finite_distances():
    seen = made_up_tokens(10)
    seen.tokens[:] = seen.tokens[0, 0, 0]
    model, (held_out,) = Subspace.fit(seen, FOLDS, False)
    assert np.isfinite(held_out).all()
    assert np.isfinite(model.evidence(made_up_tokens(1, seed=1))[0]).all()


def test_images_of_nothing_but_background_are_no_error():
    seen = made_up_tokens(10)
    seen.foreground[:] = 0
    model, _ = Subspace.fit(seen, FOLDS, True)
    assert np.isfinite(model.evidence(seen)[0]).all()


def test_arrays_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="do not go with"):
        Subspace(np.zeros(4, np.float32), np.zeros((5, 2), np.float32))
