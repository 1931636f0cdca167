"""What is taken of the outputs of an ONNX graph: a transformer's tokens above all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from msde.backbones import load_backbone
from msde.backbones.onnx_part import OnnxPart, parts
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError

SIZE, PATCH, WIDTH = 16, 4, 6
KERNEL = np.random.default_rng(0).standard_normal((WIDTH, 3, PATCH, PATCH), np.float32)
PREFIX = np.random.default_rng(1).standard_normal((1, 5, WIDTH), np.float32)


def tokens_of(images: np.ndarray, n_prefix: int) -> np.ndarray:
    """The same as the graph in NumPy."""
    grid = SIZE // PATCH
    patches = images.reshape(-1, 3, grid, PATCH, grid, PATCH).transpose(0, 2, 4, 1, 3, 5)
    rows = np.einsum("nhwcij,kcij->nhwk", patches, KERNEL).reshape(len(images), -1, WIDTH)
    return np.concatenate([np.repeat(PREFIX[:, :n_prefix], len(images), axis=0), rows], axis=1)


def save(path: Path, n_prefix: int, half: bool = False) -> None:
    """A graph that gives tokens: constants, then a linear map of each patch."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    float_type = np.float16 if half else np.float32
    constants = {
        "kernel": KERNEL.astype(float_type),
        "shape": np.array([0, WIDTH, -1]),
        "before": PREFIX[:, :n_prefix].astype(float_type),
        "tail": np.array([n_prefix, WIDTH]),
        "zero": np.array([0]),
    }
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["grid"], strides=[PATCH, PATCH]),
        helper.make_node("Reshape", ["grid", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["patches"], perm=[0, 2, 1]),
        helper.make_node("Shape", ["images"], ["n"], end=1),
        helper.make_node("Concat", ["n", "tail"], ["wanted"], axis=0),
        helper.make_node("Expand", ["before", "wanted"], ["prefix"]),
        helper.make_node("Concat", ["prefix", "patches"], ["last_hidden_state"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", kind, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("last_hidden_state", kind, ["n", None, WIDTH])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("n_prefix", [0, 1, 5])
def test_tokens_become_a_map_a_class_token_and_an_embedding(
    tmp_path: Path, rng: np.random.Generator, n_prefix: int, half: bool
) -> None:
    save(tmp_path / "net.onnx", n_prefix, half)
    backbone = load_backbone(f"onnx:{tmp_path / 'net.onnx'}")
    assert (backbone.levels, backbone.looks, backbone.dim) == (("level1",), ("plain:own",), WIDTH)
    images = rng.random((9, 3, SIZE, SIZE), np.float32)
    tokens = tokens_of(images, n_prefix)
    names = ["embedding", "level1"] + (["level1.cls"] if n_prefix else [])
    session = EmbeddingSession(backbone)
    found = session.run(images, names)
    atol = 2e-2 if half else 1e-5
    patches = tokens[:, n_prefix:]
    np.testing.assert_allclose(found["embedding"], tokens[:, 0] if n_prefix else patches.mean(1), atol=atol)
    np.testing.assert_allclose(found["level1"].reshape(9, WIDTH, -1).transpose(0, 2, 1), patches, atol=atol)
    if n_prefix:
        np.testing.assert_allclose(found["level1.cls"], tokens[:, 0], atol=atol)
    else:
        with pytest.raises(BackboneError, match="no class token"):
            session.channels("level1.cls")
    assert session.channels("level1") == WIDTH


@pytest.mark.parametrize("shape", [(1, 50, 6), (1, 4, 6), (1, 33, 6), (1, 1, 6)])
def test_tokens_in_no_grid_of_the_images_are_left(shape: tuple[int, ...]) -> None:
    """50 is one before 7 x 7, which does not divide 16 pixels; 33 would be 17 before 4 x 4."""
    taken = parts({"tokens": np.zeros(shape), "features": np.zeros((1, 8))}, SIZE)
    expected = {"embedding": OnnxPart("features")}
    if shape[1] == 4:
        expected |= {"level1": OnnxPart("tokens", "map", 0, 2)}
    assert taken == expected


def test_a_grid_of_another_size_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "net.onnx", 1)
    with pytest.raises(BackboneError, match="its graph computes images of 16 px only; leave the input size out"):
        load_backbone(f"onnx:{tmp_path / 'net.onnx'}", input_size=32)
