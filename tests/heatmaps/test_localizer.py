from dataclasses import replace

import numpy as np
import pytest
from tests.heatmaps.maps import made_up

from msde.heatmaps.localizer import Localizer
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
    network = model.session.mapped_views, model.session.map_channels()
    model.localizer_.check(*network)
    with pytest.raises(ValueError, match="not aligned|match|mismatch|broadcast"):
        localizer.check(*network)
    with pytest.raises(ValueError, match="views"):
        replace(localizer, views={"mirrored": localizer.views["plain"]}).check(*network)


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
    network = model.session.mapped_views, model.session.map_channels()
    with pytest.raises(ValueError, match="share of normal images"):
        replace(model.localizer_, calm=calm).check(*network)
