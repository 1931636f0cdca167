import json

import numpy as np
import pytest
from tests.pretrain.conftest import TINY
from tests.requirements import need

from msde.backbones import load_backbone
from msde.pretrain.encoder import write_encoder
from msde.pretrain.network import load_start

need("torch")

pytestmark = pytest.mark.torch


def contents(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_the_built_in_encoder_has_the_tensors_of_its_graph(tmp_path):
    write_encoder(tmp_path / "e.safetensors", load_start("efficientnet_lite0", None), {"task": "anatpaste"})
    tensors, metadata = contents(tmp_path / "e.safetensors")
    weights = load_backbone().weights
    assert tensors.keys() == weights.keys() - {"pixel_mean", "pixel_std"}
    assert all(np.array_equal(tensors[name], weights[name]) for name in tensors)
    architecture = json.loads(metadata["msde_architecture"])
    assert architecture["builtin"] == "efficientnet_lite0"
    assert json.loads(metadata["msde_pretrain"]) == {"task": "anatpaste"}


def test_any_other_has_those_of_timm(tmp_path):
    encoder = load_start(TINY, None, random=True)
    write_encoder(tmp_path / "e.safetensors", encoder, {})
    tensors, metadata = contents(tmp_path / "e.safetensors")
    assert tensors.keys() == encoder.network.state_dict().keys()
    architecture = json.loads(metadata["msde_architecture"])
    assert architecture["timm"] == "test_resnet"
    assert architecture["input_size"] == 160
    assert len(architecture["mean"]) == len(architecture["std"]) == 3
