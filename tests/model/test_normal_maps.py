from dataclasses import replace

import numpy as np
import pytest
from tests.pictures import disc

from msde.embedding.embed import embed_images
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
