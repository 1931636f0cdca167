import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.heatmaps.maps import made_up_tokens

from msde.backbones.raw_maps import RawMaps
from msde.heatmaps.unit_tokens import MOST_PLACES, UnitTokens


def viewed(rng, side, channels=5, n=2):
    maps = rng.normal(size=(n, channels, side, side)).astype(np.float32)
    return RawMaps(rng.random((n, 3, 64, 64), np.float32), maps, maps)


def test_a_grid_of_64_places_stays_and_a_larger_one_is_averaged(rng):
    for side, kept in ((7, 7), (37, 37), (64, 64), (100, 50)):
        assert UnitTokens.of(viewed(rng, side)).tokens.shape == (2, kept, kept, 5)
    assert MOST_PLACES == 64


def test_lengths_make_no_difference(rng):
    seen = viewed(rng, 6)
    larger = seen._replace(coarse=seen.coarse * rng.uniform(0.1, 100, (2, 1, 6, 6)).astype(np.float32))
    tokens = UnitTokens.of(seen).tokens
    np.testing.assert_allclose(np.linalg.norm(tokens, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(UnitTokens.of(larger).tokens, tokens, atol=1e-6)


def test_a_token_of_nothing_is_no_error(rng):
    seen = viewed(rng, 3)
    assert np.isfinite(UnitTokens.of(seen._replace(coarse=seen.coarse * 0)).tokens).all()


def test_packing_can_be_undone():
    seen = made_up_tokens(3)
    for dtype in (np.float32, np.float16):
        again = UnitTokens.unpacked(seen.packed().astype(dtype), seen.shapes())
        for before, after in zip(seen, again, strict=True):
            assert after.dtype == dtype
            np.testing.assert_array_equal(before.astype(dtype), after)


@given(st.integers(1, 3000), st.booleans())
def test_tokens_are_chosen_from_every_image(most, masked):
    seen = made_up_tokens(5)
    seen.foreground[:, :31] = 0
    chosen = list(seen.chosen(np.arange(len(seen.tokens)), most, masked))
    available = 36 if masked else 81
    assert [len(tokens) for tokens in chosen] == [min(max(1, most // 5), available)] * 5
    if masked:
        below = seen.tokens[:, 4:].reshape(5, -1, seen.tokens.shape[-1])
        assert all(
            (own[:, None] == tokens).all(axis=2).any(axis=0).all() for own, tokens in zip(below, chosen, strict=True)
        )
