"""A score keeps its passport: what it is of, and of a volume its parts."""

import numpy as np
import pytest
from PIL import Image
from tests.pictures import disc

from msde.images import Part
from msde.model.score import COLUMNS, ImageScore


@pytest.fixture
def stack(tmp_path, rng):
    first, *others = (Image.fromarray(disc(rng)) for _ in range(3))
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    first.save(tmp_path / "single.png")
    return tmp_path / "stack.tif"


def test_a_volume_names_its_parts_and_their_sources(model, stack):
    *parts, volume = model.score([stack, stack.with_name("single.png")])[:4]
    assert [score.is_volume for score in (*parts, volume)] == [False, False, False, True]
    assert volume.parts == tuple(parts)
    assert [part.volume for part in parts] == [volume.path] * 3
    assert [type(source) for source in volume.sources] == [Part] * 3
    assert [source.path for source in volume.sources] == [str(stack)] * 3


def test_an_image_names_its_file_and_keeps_its_digest_and_shape(model, stack):
    score = model.score(stack.with_name("single.png"))[0]
    assert score.sources == (stack.with_name("single.png"),)
    assert score.shape == (64, 64)
    assert len(score.digest) == 32
    assert (score.volume, score.parts, score.heat) == (None, (), None)


def test_heat_comes_with_the_score_where_it_was_asked_for_and_not_with_a_volumes_parts(model, stack):
    embedded = model.embed(stack, model.fitted.heat_maps())
    *parts, volume = model.score_embedded(embedded)
    assert all(part.heat.shape == (56 * 56,) for part in parts)
    assert all(part.heat is None for part in volume.parts)


def test_an_image_in_memory_is_let_go_with_its_heat(model, rng):
    [score] = model.score([disc(rng)])
    assert score.source is None
    [score] = model.score_embedded(model.embed([disc(rng)], model.fitted.heat_maps()))
    assert score.source is not None
    assert score.without_heat().source is None


def test_a_row_has_the_columns_of_tables_and_none_for_what_is_missing():
    row = ImageScore("a.png", np.nan, np.nan, None, "a.png: is no image", digest=b"1", shape=(3, 4)).row()
    assert row == {"path": "a.png", "anomaly_score": None, "p_value": None, "flagged": None, "error": row["error"]}
    assert tuple(row) == COLUMNS
