"""The built-in graph against timm, from whose model it was written."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.requirements import need

from msde.backbones import Backbone
from msde.backbones.builtin import graph_file
from msde.backbones.known import registry
from msde.backbones.legacy_torch import read_torch_file
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError

pytestmark = [pytest.mark.torch, pytest.mark.slow]

STAGES = (1, 2, 4, 6)  # timm's stages that end with blocks 3, 5, 11 and 16


@pytest.fixture(scope="module")
def script() -> ModuleType:
    need("torch")
    path = Path(__file__).parents[2] / "tools" / "export_graph.py"
    spec = importlib.util.spec_from_file_location("export_graph", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network(lite0_file: Path) -> Any:
    """timm's model, its layers paired with the package's tensors by their place in the network."""
    need("torch")
    import timm
    import torch

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    tensors = read_torch_file(lite0_file)
    network.load_state_dict(
        {name: torch.from_numpy(values) for name, values in zip(network.state_dict(), tensors.values(), strict=True)}
    )
    return network.eval()


def normalised(pixels: np.ndarray, lite0: Backbone) -> Any:
    import torch

    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (lite0.mean, lite0.std))
    return torch.from_numpy((pixels - mean) / std)


def of_unit_length(means: Any) -> np.ndarray:
    """A batch of pooled levels as one embedding."""
    return np.concatenate([m / np.linalg.norm(m, axis=1, keepdims=True) for m in (m.numpy() for m in means)], 1)


def test_embedding_agrees_with_timm(network: Any, lite0: Backbone, pixels: np.ndarray) -> None:
    import torch

    with torch.inference_mode():
        x = normalised(pixels, lite0)
        x = network.bn1(network.conv_stem(x))
        pooled = []
        for number, stage in enumerate(network.blocks):
            x = stage(x)
            if number in STAGES:
                pooled.append(x.mean((2, 3)))
    expected = of_unit_length(pooled)
    found = EmbeddingSession(lite0).embed(pixels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    for level in np.split(np.arange(lite0.dim), (24, 64, 176)):  # each level on its own scale, too
        scale = np.abs(expected[:, level]).max()
        np.testing.assert_allclose(found[:, level], expected[:, level], rtol=0, atol=1e-5 * scale)


def test_embedding_agrees_with_timms_features_only(network: Any, lite0: Backbone, pixels: np.ndarray) -> None:
    import timm
    import torch

    features = timm.create_model(
        "tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(1, 2, 3, 4)
    )
    features.load_state_dict(network.state_dict(), strict=False)
    with torch.inference_mode():
        maps = features.eval()(normalised(pixels[:2], lite0))
    expected = of_unit_length(values.mean((2, 3)) for values in maps)
    assert expected.shape[1] == lite0.dim
    found = EmbeddingSession(lite0).embed(pixels[:2])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_committed_graph_is_what_the_script_writes(script: ModuleType, name: str) -> None:
    import onnx

    committed, written = graph_file(registry()[name]).read_bytes(), script.graph_bytes(name)
    # Compared as messages: another version of protobuf may order bytes differently.
    assert onnx.load_from_string(committed) == onnx.load_from_string(written)


def test_script_refuses_a_graph_that_is_not_timms(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "RELU6", {"relu6.min": 0.0, "relu6.max": 5.0})
    monkeypatch.setattr(script, "CONSTANTS", script.CONSTANTS | script.RELU6)
    with pytest.raises(BackboneError, match="differs from the original network"):
        script.graph_bytes()


def test_runtime_fuses_every_batch_norm_and_clip(lite0: Backbone, tmp_path: Path) -> None:
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    names = list(lite0.weights)
    options.add_external_initializers(names, [ort.OrtValue.ortvalue_from_numpy(lite0.weights[name]) for name in names])
    ort.InferenceSession(lite0.graph, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("Conv") == 48
    assert not {"BatchNormalization", "Clip", "Add"} & set(kinds)
