"""Weights in several files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.requirements import need

from msde.backbones.checkpoint import find_weights, read_checkpoint
from msde.backbones.shards import check_whole, named, shards
from msde.errors import WeightsFileError

INDEX = "model.safetensors.index.json"
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def save_index(folder: Path, weight_map: Any) -> Path:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder / INDEX


@pytest.mark.torch
def test_files_of_an_index_are_read_together(tmp_path: Path) -> None:
    need("torch")
    import torch
    from safetensors.torch import save_file

    tensors = {"a": torch.rand(3), "b": torch.rand(2, 2), "c": torch.rand(1)}
    save_file({"a": tensors["a"], "c": tensors["c"]}, tmp_path / PARTS[0])
    save_file({"b": tensors["b"]}, tmp_path / PARTS[1])
    index = save_index(tmp_path, {"a": PARTS[0], "b": PARTS[1], "c": PARTS[0]})
    assert find_weights(tmp_path) == index
    found = read_checkpoint(index)
    assert found.keys() == tensors.keys()
    assert all(found[name].equal(tensor) for name, tensor in tensors.items())
    with pytest.raises(WeightsFileError, match="is one of several files of weights; pass their folder"):
        read_checkpoint(tmp_path / PARTS[0])
    (tmp_path / PARTS[1]).unlink()
    with pytest.raises(WeightsFileError, match=rf"{PARTS[1]} of it are missing; fetch them into the same folder"):
        read_checkpoint(index)


def test_a_file_alone_is_whole() -> None:
    check_whole(Path("model.safetensors"))
    check_whole(Path("model-00001-of-00001.safetensors"))


@pytest.mark.parametrize("name", ["../secret.safetensors", "/secret.safetensors", "", 3, ["list"]])
def test_files_elsewhere_are_refused(tmp_path: Path, name: object) -> None:
    index = save_index(tmp_path, {"a": name})
    with pytest.raises(WeightsFileError, match="is no index of weights") as caught:
        named(index)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"weight_map": 3}'])
def test_damaged_index(tmp_path: Path, content: bytes) -> None:
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(WeightsFileError, match="is no index of weights"):
        shards(tmp_path / INDEX)


def test_an_index_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match="the files of weights of it are missing"):
        shards(save_index(tmp_path, {}))
    with pytest.raises(WeightsFileError, match="is no index of weights"):
        shards(tmp_path / "missing.index.json")
