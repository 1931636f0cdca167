"""Files of weights that say which architecture they are of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.requirements import need
from tests.scores import assert_same_rows

from msde.backbones import Backbone, load_backbone
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError, WeightsFileError

Agrees = Callable[[Backbone, Callable[[Any], Any]], None]
SAID = {"timm": "test_vit", "input_size": 160, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}


@pytest.fixture(scope="module")
def network() -> Any:
    need("torch")
    import timm
    import torch

    torch.manual_seed(0)
    return timm.create_model("test_vit", pretrained=False, num_classes=0).eval()


def saved(path: Path, network: Any, said: object) -> Path:
    from safetensors.torch import save_file

    save_file(network.state_dict(), path, {} if said is None else {"msde_architecture": json.dumps(said)})
    return path


@pytest.mark.torch
@pytest.mark.slow
def test_architecture_in_the_file(network: Any, tmp_path: Path, agrees: Agrees) -> None:
    path = saved(tmp_path / "net@home.safetensors", network, SAID | {"pooling": "mean", "licence": "CC0-1.0"})
    backbone = load_backbone(f"file:{path}")
    assert (backbone.mean, backbone.licence) == ((0.1, 0.2, 0.3), "CC0-1.0")
    assert backbone.name == "file:net@home.safetensors"
    assert str(tmp_path) not in str(backbone.describe())
    agrees(backbone, lambda images: network.forward_features(images)[:, 1:].mean(1))


@pytest.mark.torch
@pytest.mark.slow
def test_architecture_in_the_name(network: Any, tmp_path: Path, agrees: Agrees) -> None:
    path = saved(tmp_path / "net.safetensors", network, None)
    backbone = load_backbone(f"file:{path}@test_vit")
    assert backbone.mean == (0.5, 0.5, 0.5)  # timm's for this model
    agrees(backbone, network)


@pytest.mark.torch
@pytest.mark.slow
def test_network_of_grey_images(tmp_path: Path, agrees: Agrees) -> None:
    need("torch")
    import timm

    network = timm.create_model("test_resnet", pretrained=False, num_classes=0, in_chans=1).eval()
    path = saved(tmp_path / "net.safetensors", network, SAID | {"timm": "test_resnet", "channels": 1})
    backbone = load_backbone(f"file:{path}")
    agrees(backbone, lambda images: network(images.mean(1, keepdim=True)))
    assert len(backbone.levels) == 4
    path = saved(tmp_path / "net.safetensors", network, SAID | {"timm": "test_resnet"})
    with pytest.raises(WeightsFileError, match=r"instead of \d+x3x3x3 \(grey images, not RGB\)"):
        load_backbone(f"file:{path}")


@pytest.mark.torch
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, "does not say its architecture; name it as file:CHECKPOINT@ARCHITECTURE"),
        ([], "its msde_architecture is incomplete"),
        ({}, "its msde_architecture is incomplete .*timm"),
        (SAID | {"mean": [1]}, "its msde_architecture is incomplete"),
        (SAID | {"channels": 2}, "its msde_architecture is incomplete"),
        (SAID | {"pooling": "max"}, "its msde_architecture is incomplete"),
        (SAID | {"timm": "no_such_net"}, "timm has no model 'no_such_net'"),
        (SAID | {"timm": "local-dir:."}, "timm has no model"),
        (SAID | {"timm": "hf-hub:timm/resnet18.a1_in1k"}, "timm has no model"),
        (SAID | {"timm": "test_resnet"}, r"does not fit the architecture: conv1\.0\.weight \(missing\)"),
    ],
)
def test_bad_description(network: Any, tmp_path: Path, said: object, reason: str) -> None:
    path = saved(tmp_path / "net.safetensors", network, said)
    with pytest.raises(BackboneError, match=reason) as caught:
        load_backbone(f"file:{path}")
    assert "\n" not in str(caught.value)


OF_BUILT_IN: dict[str, Any] = {
    "builtin": "efficientnet_lite0",
    "input_size": 224,
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
}


def written(path: Path, tensors: dict[str, np.ndarray], said: object = OF_BUILT_IN) -> Path:
    from safetensors.numpy import save_file

    save_file(tensors, path, {"msde_architecture": json.dumps(said)})
    return path


@pytest.fixture
def changed(lite0: Backbone) -> dict[str, np.ndarray]:
    """The built-in network's tensors after some training, so to say."""
    tensors = {name: values for name, values in lite0.weights.items() if not name.startswith("pixel_")}
    return tensors | {"_bn0.weight": tensors["_bn0.weight"] * np.float32(1.5)}


def test_built_in_graph_with_other_weights(
    lite0: Backbone, changed: dict[str, np.ndarray], tmp_path: Path, pixels: np.ndarray
) -> None:
    path = written(tmp_path / "net.safetensors", changed, OF_BUILT_IN | {"licence": "MIT"})
    backbone = load_backbone(f"file:{path}")
    assert (backbone.mean, backbone.licence, backbone.levels) == ((0.1, 0.2, 0.3), "MIT", lite0.levels)
    assert backbone.source == "efficientnet_lite0, weights of net.safetensors"
    normalised = {
        "pixel_mean": np.array(OF_BUILT_IN["mean"], np.float32),
        "pixel_std": np.array(OF_BUILT_IN["std"], np.float32),
    }
    weights = changed | {name: values.reshape(1, 3, 1, 1) for name, values in normalised.items()}
    expected = EmbeddingSession(dataclasses.replace(lite0, weights=weights)).embed(pixels[:2])
    assert_same_rows(EmbeddingSession(backbone).embed(pixels[:2]), expected)
    assert not np.allclose(expected, EmbeddingSession(lite0).embed(pixels[:2]))


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_weights_of_16_bits_are_read(
    lite0: Backbone, changed: dict[str, np.ndarray], tmp_path: Path, dtype: str
) -> None:
    header: dict[str, Any] = {"__metadata__": {"msde_architecture": json.dumps(OF_BUILT_IN)}}
    data = b""
    for name, values in changed.items():
        halves = values.astype("<f2") if dtype == "F16" else (values.view("<u4") >> 16).astype("<u2")
        offsets = [len(data), len(data) + halves.nbytes]
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": offsets}
        data += halves.tobytes()
    text = json.dumps(header).encode()
    (tmp_path / "net.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    found = load_backbone(f"file:{tmp_path / 'net.safetensors'}").weights
    for name, values in changed.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], values, rtol=2**-7, atol=1e-7)


def test_tensors_that_are_not_the_graphs(changed: dict[str, np.ndarray], tmp_path: Path) -> None:
    def refused(reason: str, tensors: dict[str, np.ndarray], said: object = OF_BUILT_IN) -> None:
        with pytest.raises(WeightsFileError, match=rf"net\.safetensors: {reason}") as caught:
            load_backbone(f"file:{written(tmp_path / 'net.safetensors', tensors, said)}")
        assert "\n" not in str(caught.value)

    refused("does not fit efficientnet_lite0: _bn0.weight differ", changed | {"_bn0.weight": np.ones(31, np.float32)})
    refused("does not fit .*_bn0.weight", changed | {"_bn0.weight": np.ones(32, np.float64)})
    refused("does not fit .*extra", changed | {"extra": np.ones(3, np.float32)})
    refused("does not fit", {"extra": np.ones(3, np.float32)})
    refused("holds values that are not finite", changed | {"_bn0.weight": np.full(32, np.nan, np.float32)})
    refused("is of 240 pixels, its graph of 224", changed, OF_BUILT_IN | {"input_size": 240})
    refused("is of 'rad-dino', which is no built-in backbone", changed, OF_BUILT_IN | {"builtin": "rad-dino"})


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match="no such file of weights"):
        load_backbone(f"file:{tmp_path / 'net.safetensors'}")
    (tmp_path / "net.pth").write_bytes(b"PK\x03\x04 a checkpoint of torch")
    with pytest.raises(WeightsFileError, match="net.pth: no file of safetensors .* file:CHECKPOINT@ARCHITECTURE"):
        load_backbone(f"file:{tmp_path / 'net.pth'}")
    with pytest.raises(WeightsFileError, match="cannot be read|no file of safetensors"):
        load_backbone(f"file:{tmp_path}")
    with pytest.raises(WeightsFileError, match="is itself a file of weights"):
        load_backbone(f"file:{tmp_path / 'net.pth'}", tmp_path / "other.pth")
