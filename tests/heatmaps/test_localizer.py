from dataclasses import replace

import numpy as np
import pytest
from tests.heatmaps.maps import made_up, made_up_tokens

from msde.heatmaps.localizer import Localizer
from msde.heatmaps.patch_models import KINDS
from msde.heatmaps.scale import HeatScale


def test_what_is_odd_is_hot_where_it_is(localizer):
    seen = {"plain": made_up(1, seed=5), "stretched": made_up(1, seed=6)}
    calm = localizer.heat(seen)[0]
    for one in seen.values():
        one.fine[0, 3:, 3:] += 4
        one.brightness[0, 7:, 7:] += 4
    heat = localizer.heat(seen)[0]
    assert heat.shape == (56, 56)
    assert heat[36:, 36:].min() > 0.75 > np.quantile(calm, 0.95)
    np.testing.assert_allclose(heat[:13, :13], calm[:13, :13], atol=1e-5)


def test_held_out_normals_are_calm(localizer):
    fresh = localizer.heat({"plain": made_up(60, seed=7), "stretched": made_up(60, seed=8)})
    assert (fresh >= 0.5).mean() < 0.03


def test_an_image_does_not_depend_on_those_beside_it(localizer):
    seen = {"plain": made_up(5, seed=9), "stretched": made_up(5, seed=10)}
    together = localizer.heat(seen)
    alone = localizer.heat({name: type(one)(*(part[2:3] for part in one)) for name, one in seen.items()})
    np.testing.assert_allclose(alone[0], together[2], atol=1e-5)


def test_a_localizer_can_be_taken_apart_and_put_together(localizer):
    again = Localizer.from_description(localizer.describe(), localizer.arrays())
    assert again.key == localizer.key
    seen = {"plain": made_up(2, seed=3), "stretched": made_up(2, seed=4)}
    np.testing.assert_equal(again.arrays(), localizer.arrays())
    np.testing.assert_allclose(again.heat(seen), localizer.heat(seen), atol=1e-5)


def test_another_scale_is_another_key(localizer):
    scale = localizer.scale
    other = replace(localizer, scale=HeatScale(scale.middle + 1, scale.width, scale.ladder))
    assert other.key != localizer.key


def test_arrays_that_do_not_fit_the_network_are_found(localizer, model):
    network = model.session.map_channels()
    model.localizer_.check(network)
    with pytest.raises(ValueError, match="not aligned|match|mismatch|broadcast"):
        localizer.check(network)
    with pytest.raises(ValueError, match="views"):
        replace(localizer, views={"mirrored": localizer.views["plain"]}).check(network)


@pytest.mark.slow
def test_few_new_normal_images_show_any_colour():
    shown = []
    for seed in range(8):
        localizer = Localizer.fit({"plain": made_up(80, seed=seed)})
        fresh = localizer.heat({"plain": made_up(80, seed=100 + seed)})
        assert localizer.colours.calm == 0.05
        assert localizer.colours.p_value == 0.025
        shown.append((fresh.max(axis=(1, 2)) > localizer.colours.onset).mean())
    assert np.mean(shown) <= 0.025 + 0.02


def test_images_of_a_patient_are_held_out_together(rng):
    seen = made_up(20, seed=1)
    copies = type(seen)(*(np.repeat(part, 5, axis=0) + 0.01 * rng.normal(size=1).astype(np.float32) for part in seen))
    patients = np.repeat(np.arange(20), 5)
    order = rng.permutation(100)  # as files named by UIDs
    mixed = type(seen)(*(part[order] for part in copies))
    unknown, known = (Localizer.fit({"plain": mixed}, groups) for groups in (None, patients[order]))
    fresh = {"plain": made_up(60, seed=2)}
    rates = [(model.heat(fresh) >= 0.5).mean() for model in (unknown, known)]
    assert rates[1] < 0.5 * rates[0]


def test_more_calm_is_a_later_onset(localizer):
    onsets = [replace(localizer, calm=calm).colours.onset for calm in (0.5, 0.1, 0.02)]
    assert onsets == sorted(onsets)


@pytest.mark.parametrize("calm", [0.0, 1.0, "0.05"])
def test_a_share_that_is_none_is_refused(localizer, model, calm):
    network = model.session.map_channels()
    with pytest.raises(ValueError, match="share of normal images"):
        replace(model.localizer_, calm=calm).check(network)


@pytest.fixture(scope="module", params=["modes", "subspace"])
def of_tokens(request):
    return Localizer.fit({"plain": made_up_tokens(60)}, kinds={"plain": request.param})


def test_tokens_have_heat_on_the_same_scale(of_tokens, rng):
    seen = made_up_tokens(60, seed=1)
    calm = of_tokens.heat({"plain": seen})
    assert (calm >= 0.25).mean() == pytest.approx(0.1, abs=0.04)
    assert (calm >= 0.5).mean() < 0.03
    seen.tokens[:, 4:, 4:] += rng.normal(size=24).astype(np.float32)
    seen.tokens[:] /= np.linalg.norm(seen.tokens, axis=-1, keepdims=True)
    assert of_tokens.heat({"plain": seen})[:, 36:, 36:].min() > 0.75


def test_a_localizer_of_tokens_comes_back(of_tokens):
    again = Localizer.from_description(of_tokens.describe(), of_tokens.arrays())
    assert again.key == of_tokens.key
    assert again.kinds == of_tokens.kinds
    seen = {"plain": made_up_tokens(2, seed=3)}
    np.testing.assert_allclose(again.heat(seen), of_tokens.heat(seen), atol=1e-5)
    again.check({"plain": (7, 24)})
    with pytest.raises(ValueError, match="match|mismatch|broadcast|operand"):
        again.check({"plain": (7, 23)})


@pytest.mark.slow
def test_flat_background_has_no_heat_and_does_not_count(of_tokens):
    seen = made_up_tokens(60)
    seen.tokens[:, :5] = seen.tokens[:, :1, :1]  # what a network sees of nothing
    seen.foreground[:, :31] = 0
    masked = Localizer.fit({"plain": seen}, kinds=of_tokens.kinds)
    assert masked.masked
    assert not of_tokens.masked
    fresh = made_up_tokens(60, seed=1)
    fresh.foreground[:, :31] = 0
    heat = masked.heat({"plain": fresh})
    assert (heat[:, :31] == 0).all()
    assert (heat[:, 31:] >= 0.25).mean() == pytest.approx(0.1, abs=0.04)  # of the area that there is
    again = Localizer.from_description(masked.describe(), masked.arrays())
    np.testing.assert_allclose(again.heat({"plain": fresh}), heat, atol=1e-5)


def test_networks_of_both_sorts_are_added_up():
    seen = {"plain": made_up(60), "plain2": made_up_tokens(60)}
    both = Localizer.fit(seen, kinds={"plain": "places", "plain2": "subspace"})
    fresh = {"plain": made_up(1, seed=2), "plain2": made_up_tokens(1, seed=3)}
    calm = both.heat(fresh)[0]
    fresh["plain"].fine[0, 3:, 3:] += 4
    assert both.heat(fresh)[0, 36:, 36:].min() > calm[36:, 36:].max()


def test_a_description_without_patch_models_is_of_places(localizer):
    described = {name: value for name, value in localizer.describe().items() if name not in ("patches", "masked")}
    again = Localizer.from_description(described, localizer.arrays())
    assert again.kinds == {"plain": "places", "stretched": "places"}
    assert set(KINDS) == {"places", "modes", "subspace"}
