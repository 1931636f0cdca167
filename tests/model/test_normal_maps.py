from dataclasses import replace

import numpy as np
import pytest
from tests.pictures import disc

from msde import AnomalyModel
from msde.embedding.embed import embed_images
from msde.embedding.encoder import Encoder, EncoderSession
from msde.model import normal_maps
from msde.model.normal_maps import NormalMaps
from msde.model.training_set import TrainingSet


@pytest.fixture
def embedded(model, rng):
    reader = NormalMaps(model.session)
    return list(embed_images(model.session, [disc(rng) for _ in range(12)], reader=reader))


def test_of_too_many_normals_the_same_ones_are_kept_in_any_order(model, embedded, monkeypatch):
    monkeypatch.setattr(normal_maps, "MOST_IMAGES", 5)
    kept = []
    for images in (embedded, embedded[::-1]):
        reader = NormalMaps(model.session)
        assert [image.maps for image in reader.taking(images)] == [None] * 12
        kept.append(set(reader._rows))
    assert kept[0] == kept[1] == set(sorted(image.digest for image in embedded)[:5])


def test_copies_count_once(model, embedded):
    reader = NormalMaps(model.session)
    normals = TrainingSet.collect(reader.taking([embedded[0]] * 20), "normal", at_least=1)
    assert reader.localizer(normals) is None


def test_values_beyond_half_precision_are_cut_off(model, embedded):
    reader = NormalMaps(model.session)
    list(reader.taking([replace(image, maps=np.full_like(image.maps, 1e9)) for image in embedded]))
    assert all(np.isfinite(row).all() for row in reader._rows.values())


def test_maps_are_kept_in_bounded_memory(model, embedded, monkeypatch):
    width = NormalMaps(model.session).width
    monkeypatch.setattr(normal_maps, "MOST_BYTES", 2 * width * 11)
    reader = NormalMaps(model.session)
    assert reader.most == 11
    list(reader.taking(embedded))
    assert set(reader._rows) == set(sorted(image.digest for image in embedded)[:11])
    monkeypatch.setattr(normal_maps, "MOST_BYTES", 1)
    assert NormalMaps(model.session).most == normal_maps.LEAST_IMAGES


def test_networks_of_tokens_have_a_subspace_and_others_places(network):
    of_tokens = replace(network, looks=("plain:own",))
    assert NormalMaps(EncoderSession(Encoder((of_tokens, network)), 1)).kinds == {
        "plain": "subspace",
        "plain2": "places",
        "stretched2": "places",
    }
    assert set(NormalMaps(EncoderSession(Encoder((network,)), 1), "modes").kinds.values()) == {"modes"}


@pytest.mark.slow
def test_two_networks_draw_together_and_come_back(network, explaining, discs, tmp_path):
    backbones = [*explaining.encoder.backbones, replace(network, looks=("plain:own",))]
    both = AnomalyModel(backbones).fit(discs / "train")
    assert list(both.localizer_.views) == ["plain", "stretched", "plain2"]
    both.save(tmp_path / "m.msde")
    again = AnomalyModel.load(tmp_path / "m.msde")
    image = sorted((discs / "abnormal").iterdir())[0]
    heat = again.explain(image).heat
    np.testing.assert_allclose(heat, both.explain(image).heat, atol=1e-4)
    assert heat[21:32, 21:32].mean() > 1.5 * heat[:10].mean()


@pytest.mark.slow
@pytest.mark.parametrize("patches", ["modes", "subspace"])
def test_tokens_of_the_default_network_show_a_lesion(network, discs, patches, tmp_path):
    model = AnomalyModel(network).fit(discs / "train", patches=patches)
    model.save(tmp_path / "m.msde")
    lesions = [model.explain(path).heat[21:32, 21:32].mean() for path in sorted((discs / "abnormal").iterdir())]
    normals = [model.explain(path).heat[21:32, 21:32].mean() for path in sorted((discs / "normal").iterdir())]
    assert np.mean(lesions) > 2 * np.mean(normals)
    path = sorted((discs / "abnormal").iterdir())[0]
    np.testing.assert_allclose(
        AnomalyModel.load(tmp_path / "m.msde").explain(path).heat, model.explain(path).heat, atol=1e-4
    )
