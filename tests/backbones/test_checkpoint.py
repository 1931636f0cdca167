"""Reading files of named tensors, and fitting them to a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from tests.requirements import need

from msde.backbones.checkpoint import (
    differences,
    find_weights,
    read_checkpoint,
    refuse,
    tensors_of,
    within,
    without,
)
from msde.errors import WeightsFileError

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def torch() -> Any:
    need("torch")
    import torch

    return torch


@pytest.fixture
def state(torch: Any) -> dict[str, Any]:
    return {"conv.weight": torch.rand(4, 3, 2, 2), "conv.bias": torch.rand(4), "count": torch.tensor(3)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "state_dict": state},
        lambda state: {"student": 1, "teacher": state},
        lambda state: {"args": argparse.Namespace(rate=0.1), "model": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(torch: Any, state: dict[str, Any], tmp_path: Path, wrap: Any, zipped: bool) -> None:
    torch.save(wrap(state), tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "net.pth")
    assert list(found) == list(state)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_whole_network_of_named_layers_only(torch: Any, tmp_path: Path, zipped: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.Sequential(torch.nn.BatchNorm2d(4)))
    torch.save(network, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    names = ["container.Sequential", "conv.Conv2d", "batchnorm.BatchNorm2d"]
    found = read_checkpoint(tmp_path / "net.pt", [f"torch.nn.modules.{name}" for name in names])
    assert set(found) == set(network.state_dict())
    assert all(torch.equal(found[name], tensor) for name, tensor in network.state_dict().items())
    with pytest.raises(WeightsFileError, match="batchnorm|BatchNorm2d"):
        read_checkpoint(tmp_path / "net.pt", [f"torch.nn.modules.{name}" for name in names[:2]])
    with pytest.raises(WeightsFileError, match="net.pt: is no file of weights"):
        read_checkpoint(tmp_path / "net.pt")


def test_layers_are_neither_imported_nor_made(torch: Any, tmp_path: Path) -> None:
    """A layer's own class would run code of its own when it is made with arguments."""

    class Call:
        def __reduce__(self) -> tuple[object, tuple[int, int]]:
            return torch.nn.Linear, (2, 2)

    torch.save({"weight": Call()}, tmp_path / "net.pt")
    with pytest.raises(WeightsFileError, match="is no file of weights"):
        read_checkpoint(tmp_path / "net.pt", ["torch.nn.modules.linear.Linear"])


def test_whole_networks_tensors_have_torchs_names(torch: Any) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3, bias=False), torch.nn.BatchNorm1d(3))
    assert dict(tensors_of(network)).keys() == network.state_dict().keys()


def test_differences_are_named_in_the_networks_order(torch: Any, state: dict[str, Any]) -> None:
    found = {"extra": torch.ones(1), "count": torch.ones(2), "conv.weight": torch.rand(4, 1, 2, 2)}
    assert differences(state, found) == [
        "conv.weight 4x1x2x2 instead of 4x3x2x2 (grey images, not RGB)",
        "conv.bias (missing)",
        "count 2 instead of scalar",
        "extra (not in the architecture)",
    ]
    assert differences({"w": torch.ones(4, 1, 2, 2)}, {"w": torch.ones(4, 3, 2, 2)}) == [
        "w 4x3x2x2 instead of 4x1x2x2 (RGB images, not grey)"
    ]
    assert differences(state, state) == []


def test_selection(torch: Any, state: dict[str, Any]) -> None:
    assert list(within(state, "conv.")) == ["weight", "bias"]
    assert list(without(state, ["*.bias", "c?unt"])) == ["conv.weight"]


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match=r"put model\.safetensors there"):
        find_weights(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    assert find_weights(tmp_path).name == "pytorch_model.bin"
    (tmp_path / "model.safetensors").touch()
    assert find_weights(tmp_path).name == "model.safetensors"
    assert find_weights(tmp_path / "net.pth") == tmp_path / "net.pth"


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("file", ["net.safetensors", "net.pth"])
def test_numbers_of_16_bits_are_the_same_in_32(torch: Any, tmp_path: Path, file: str, kind: str) -> None:
    from safetensors.torch import save_file

    state = {"weight": torch.rand(4, 3).to(getattr(torch, kind)), "count": torch.tensor(3)}
    (save_file if file.endswith(".safetensors") else torch.save)(state, tmp_path / file)
    found = read_checkpoint(tmp_path / file)
    assert found["weight"].dtype == torch.float32
    assert found["weight"].equal(state["weight"].float())
    assert found["count"].equal(state["count"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["encoder.layer.0.attention.attention.query.weight"], "transformers, its attention in three parts: load the"),
        (["vision_model.encoder.layers.0.self_attn.q_proj.weight"], "transformers, its attention in three parts"),
        (["visual.transformer.resblocks.0.attn.in_proj_weight"], "OpenCLIP: load the folder as open_clip:FOLDER"),
        (["blocks.0.attn.qkv.weight"], "timm, its attention in one part, qkv: load it as timm:NAME"),
        (["encoder.layers.encoder_layer_0.self_attention.in_proj_weight"], "torchvision: export the network as ONNX"),
    ],
)
def test_names_of_another_library_tell_which(names: list[str], said: str) -> None:
    missing = [f"layer{number} (missing)" for number in range(5)]
    with pytest.raises(WeightsFileError, match=f"layer2 \\(missing\\) and 2 more; its names are those of {said}"):
        refuse(Path("net.pth"), missing, names)
    with pytest.raises(WeightsFileError, match="layer0 instead$"):
        refuse(Path("net.pth"), ["layer0 instead"], names)
    refuse(Path("net.pth"), [], names)
