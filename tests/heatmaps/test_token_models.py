"""What the patch models of tokens have in common."""

import numpy as np
import pytest
from tests.heatmaps.maps import made_up_tokens

from msde.heatmaps.subspace import Subspace
from msde.heatmaps.unit_modes import UnitModes
from msde.heatmaps.unit_tokens import UnitTokens

FOLDS = [np.arange(0, 10), np.arange(10, 20)]


@pytest.fixture(scope="module", params=[Subspace, UnitModes])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind):
    return kind.fit(made_up_tokens(30), FOLDS, False)[0]


def odd(seen, rng):
    """Turn a corner of each image aside."""
    seen.tokens[:, :3, :3] += rng.normal(size=seen.tokens.shape[-1]).astype(np.float32)
    seen.tokens[:] /= np.linalg.norm(seen.tokens, axis=-1, keepdims=True)
    return seen


def test_what_is_odd_is_far(model, rng):
    (distances,) = model.evidence(odd(made_up_tokens(4, seed=3), rng))
    assert distances.shape == (4, 9, 9)
    assert distances.dtype == np.float32
    assert distances[:, :3, :3].min() > distances[:, 4:, 4:].max()


def test_where_a_token_lies_makes_no_difference(model):
    seen = made_up_tokens(2, seed=4)
    (there,) = model.evidence(seen)
    (turned,) = model.evidence(UnitTokens(seen.tokens[:, ::-1, ::-1], seen.foreground))
    np.testing.assert_allclose(turned[:, ::-1, ::-1], there, atol=1e-5)


def test_an_image_does_not_depend_on_those_beside_it(model):
    seen = made_up_tokens(5, seed=5)
    (together,) = model.evidence(seen)
    (alone,) = model.evidence(seen.taken(np.array([2])))
    np.testing.assert_array_equal(alone[0], together[2])


def test_each_fold_is_measured_by_the_others(kind, rng):
    seen = made_up_tokens(30)
    seen.tokens[:10] = odd(seen.taken(np.arange(10)), rng).tokens  # so that it matters who is among the others
    _, (held_out,) = kind.fit(seen, FOLDS, False)
    assert held_out.shape == (20, 9, 9)
    for number, rows in enumerate(FOLDS):
        others = seen.taken(np.delete(np.arange(30), rows))
        known, _ = kind.fit(others, [np.arange(1)], False)
        np.testing.assert_allclose(held_out[10 * number :][:10], known.evidence(seen.taken(rows))[0], atol=2e-3)
    (known_to_all,) = kind.fit(seen, FOLDS, False)[0].evidence(seen.taken(FOLDS[0]))
    assert np.abs(held_out[:10] - known_to_all).max() > 0.05


def test_background_is_not_learnt_where_it_is_left_out(kind, rng):
    seen = odd(made_up_tokens(30), rng)
    seen.foreground[:, :21, :21] = 0  # the odd corner
    ignorant, knowing = (kind.fit(seen, FOLDS, masked)[0] for masked in (True, False))
    fresh = odd(made_up_tokens(3, seed=6), np.random.default_rng(20260419))
    corner = (slice(None), slice(0, 3), slice(0, 3))
    assert ignorant.evidence(fresh)[0][corner].min() > 2 * knowing.evidence(fresh)[0][corner].max()


def test_tokens_kept_in_half_precision_measure_the_same(model):
    seen = made_up_tokens(3, seed=7)
    halves = UnitTokens(seen.tokens.astype(np.float16), seen.foreground)
    np.testing.assert_allclose(model.evidence(halves)[0], model.evidence(seen)[0], atol=2e-3)


def test_an_image_of_nothing_has_a_finite_distance(model):
    assert np.isfinite(model.evidence(model.blank((7, 24)))[0]).all()
    with pytest.raises(ValueError, match="match|mismatch|broadcast|operand"):
        model.evidence(model.blank((7, 23)))
