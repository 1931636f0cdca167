from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.pictures import SIDE, write_discs
from tests.scores import assert_same_rows

import msde.model.feature_selection
from msde import AnomalyModel
from msde.backbones import Backbone, load_backbone
from msde.backbones.input_size import with_input_size
from msde.cli.fit import fit
from msde.embedding.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.embedding.feature_spec import FeatureSpec
from msde.errors import DataError
from msde.model.feature_selection import (
    FEWEST,
    KINDS,
    Looks,
    Selection,
    anomalies,
    candidates,
    changed,
    fitted,
    quality,
    select_looks,
    soft_blob,
)

SIZE = 64
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return with_input_size(load_backbone(), SIDE)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("discs") / "normal"
    write_discs(folder, 24, seed=1, lesion=False)
    return sorted(folder.iterdir())


@given(seeds)
def test_a_blob_is_soft_and_no_more_than_a_part(seed: int) -> None:
    blob = soft_blob(SIZE, np.random.default_rng(seed))
    assert blob.shape == (SIZE, SIZE)
    assert 0 == blob.min() < blob.max() <= 1
    assert 0 < (blob > 0).mean() < 0.2
    assert ((blob > 0) & (blob < 1)).any()


@given(seeds)
def test_an_anomaly_is_an_image_changed_in_one_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.random((3, SIZE, SIZE), np.float32)
    made = list(anomalies(image, rng))
    assert len(made) == len(KINDS)
    for anomaly in made:
        assert anomaly.shape == image.shape
        assert anomaly.dtype == np.float32
        assert 0 <= anomaly.min() <= anomaly.max() <= 1
        assert 0 < (anomaly != image).mean() < 0.2


def test_the_same_seed_makes_the_same_anomalies() -> None:
    image = np.random.default_rng(0).random((3, SIZE, SIZE), np.float32)
    one, other = (list(anomalies(image, np.random.default_rng(1))) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_candidates_begin_with_the_default_and_have_each_common_level(backbone: Backbone) -> None:
    found = candidates([backbone])
    assert found[0] == DEFAULT_LOOKS
    assert len(set(found)) == len(found)
    assert [looks for looks in found if looks[0].levels] == [
        (FeatureSpec.parse(f"plain:mean:{level}"),) for level in backbone.levels
    ]
    other = dataclasses.replace(backbone, levels=backbone.levels[:1])
    assert [looks[0].levels for looks in candidates([backbone, other]) if looks[0].levels] == [("level1",)]
    assert not any(looks[0].levels for looks in candidates([backbone, dataclasses.replace(backbone, levels=())]))


def test_columns_are_what_an_encoder_of_fewer_looks_gives(backbone: Backbone) -> None:
    pixels = np.random.default_rng(0).random((2, 3, SIDE, SIDE), np.float32)
    looks = tuple(map(FeatureSpec.parse, ("plain:mean", "stretched:std:level2", "plain:own")))
    wide = EncoderSession(Encoder((backbone, backbone), looks), 1)
    for some in (looks, looks[1:], looks[::-1]):
        alone = EncoderSession(Encoder((backbone, backbone), some), 1).embed([pixels])
        assert_same_rows(wide.embed([pixels])[:, wide.columns(some)], alone)


def test_each_normal_is_held_out_once(rng: np.random.Generator) -> None:
    held_out = [rows for rows, _ in fitted(rng.standard_normal((37, 3), np.float32))]
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), np.arange(37))


@pytest.mark.slow
def test_quality_of_what_can_and_cannot_be_told(rng: np.random.Generator) -> None:
    normals = rng.standard_normal((60, 4), np.float32)
    assert quality(normals, normals + 50, np.arange(60)) == 1
    # A normal is scored together with what was made of it, hence by the same detector.
    assert quality(normals, normals, np.arange(60)) == pytest.approx(0.5)
    pool = rng.standard_normal((400, 4), np.float32)
    assert quality(normals, pool, np.full(400, -1)) == pytest.approx(0.5, abs=0.15)
    pool[:200] += 50
    assert quality(normals, pool, np.full(400, -1)) == pytest.approx(0.75, abs=0.1)


def test_of_equals_the_default_is_chosen() -> None:
    looks: list[Looks] = [(FeatureSpec(),), (FeatureSpec(("mirrored",)),), (FeatureSpec(("stretched",)),)]
    assert Selection(looks, np.array([0.5, 0.7, 0.7])).chosen == looks[1]


def test_anomalies_are_embedded_with_the_number_of_their_image(backbone: Backbone, discs: list[Path]) -> None:
    session = EncoderSession(Encoder((backbone,), (FeatureSpec.parse("plain:mean:level1"),)), 1)
    numbers, rows = changed(session, discs[:2])
    np.testing.assert_array_equal(numbers, np.repeat([0, 1], len(KINDS)))
    assert rows.shape == (2 * len(KINDS), session.dim)
    assert np.linalg.norm(np.diff(rows, axis=0), axis=1).min() > 0


@pytest.mark.parametrize("pooled", [False, True])
def test_the_better_look_is_chosen(
    backbone: Backbone, discs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooled: bool
) -> None:
    looks = [(FeatureSpec.parse("plain:mean:level1"),), (FeatureSpec.parse("plain:mean:level2"),)]
    monkeypatch.setattr(msde.model.feature_selection, "candidates", lambda backbones: looks)
    monkeypatch.setattr(msde.model.feature_selection, "MOST_CHANGED", 5)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"none")
    pool = None
    if pooled:
        write_discs(tmp_path / "pool", 8, seed=3, lesion=True)
        pool = sorted((tmp_path / "pool").iterdir())
    selection = select_looks([backbone], [broken, *discs], pool)
    assert selection.qualities.shape == (2,)
    assert (selection.qualities >= 0.5).any()
    assert selection.chosen == looks[int(selection.qualities[1] > selection.qualities[0])]


def test_too_few_images_are_refused(backbone: Backbone, discs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [(FeatureSpec.parse("plain:mean:level1"),)]
    monkeypatch.setattr(msde.model.feature_selection, "candidates", lambda backbones: looks)
    with pytest.raises(DataError, match=f"3 usable normals are too few to choose by; give {FEWEST}"):
        select_looks([backbone], discs[:3])
    with pytest.raises(DataError, match="none of the unlabelled images can be used"):
        select_looks([backbone], discs, [])


def test_a_look_given_and_chosen_is_refused(discs: list[Path]) -> None:
    done = CliRunner().invoke(fit, [str(discs[0]), "-o", "x.msde", "--select", "--look", "plain:mean"])
    assert done.exit_code == 2
    assert "leave --look out" in done.output


@pytest.mark.slow
def test_the_command_fits_with_the_chosen_looks_and_int8(
    discs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [(FeatureSpec.parse("plain:mean:level1"),), (FeatureSpec.parse("plain:mean:level2"),)]
    monkeypatch.setattr(msde.model.feature_selection, "candidates", lambda backbones: looks)
    monkeypatch.setattr(msde.model.feature_selection, "MOST_CHANGED", 5)
    path = tmp_path / "model.msde"
    done = CliRunner().invoke(fit, [str(discs[0].parent), "-o", str(path), "--select", "--int8"])
    assert done.exit_code == 0, done.output
    model = AnomalyModel.load(path)
    assert f"chosen looks: {model.encoder.looks[0]}\n" in done.output
    assert model.encoder.looks in looks
    assert model.encoder.backbones[0].name == "efficientnet_lite0 int8"
