"""`msde backbones`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from msde.backbones.known import registry
from msde.backbones.registry import LOADERS
from msde.cli.backbones import backbones
from msde.errors import BackboneError


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(backbones, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_table_says_what_each_needs() -> None:
    header, *rows = printed().split("\n\n")[0].splitlines()
    assert header.split() == ["name", "modality", "dim", "input", "licence", "gated", "needs"]
    assert [row.split()[0] for row in rows] == list(registry())
    assert len({row.index(" px ") for row in rows}) <= 2  # columns stand one below the other
    built_in, medsiglip = rows[0], next(row for row in rows if row.startswith("medsiglip"))
    assert built_in.endswith("no     nothing")
    assert "yes    pip install 'msde[hf]'; file: config.json" in medsiglip


def test_other_names_are_told() -> None:
    text = printed()
    for loader in LOADERS.values():
        assert f"{loader.form}  (pip install 'msde[{loader.extra}]')" in text


def test_all_about_one() -> None:
    text = printed("retfound-green")
    assert "mean          0.5; 0.5; 0.5\n" in text
    assert "revision      v0.1\n" in text
    assert "levels        level1; level2; level3; level4\n" in text
    assert "looks         plain:own\n" in text
    assert "options       img_size = 392\n" in text


def test_json() -> None:
    whole = json.loads(printed("--json"))
    assert list(whole) == list(registry())
    assert whole["efficientnet_lite0"]["needs"] == []
    assert json.loads(printed("rad-dino", "--json")) == whole["rad-dino"]


def test_unknown_name() -> None:
    with pytest.raises(BackboneError, match="unknown backbone 'none'; `msde backbones` lists"):
        printed("none")


@pytest.mark.slow
def test_a_backbone_is_checked_before_it_is_used(tmp_path: Path) -> None:
    text = printed("check", "efficientnet_lite0")
    assert "dim           496\n" in text
    assert "levels        level1 24 x 56 x 56; level2 40 x 28 x 28; " in text
    found = json.loads(printed("check", "efficientnet_lite0", "--input-size", "64", "--json"))
    assert found["input_size"] == 64
    assert found["images_per_second"] > 0
    with pytest.raises(BackboneError, match="needs weights: fetch"):
        printed("check", "rad-dino")
    with pytest.raises(BackboneError, match=r"net\.onnx: cannot be read"):
        printed("check", f"onnx:{tmp_path / 'net.onnx'}")
