from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.scores import assert_same_rows

from msde import AnomalyModel
from msde.backbones import Backbone, load_backbone
from msde.backbones.input_size import check_patches, with_input_size
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError


def flat(size: int) -> Backbone:
    """Give a network whose embedding is all of its pixels."""
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["pixels", "shape"], ["embedding"])],
        "flat",
        [helper.make_tensor_value_info("pixels", floats, ["n", 3, size, size])],
        [helper.make_tensor_value_info("embedding", floats, ["n", 3 * size * size])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 3 * size * size])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = model.SerializeToString()
    return Backbone("flat", size, (0, 0, 0), (1, 1, 1), (), 3 * size * size, "none", "test", content, {})


@pytest.mark.parametrize("size", [96, 288])
def test_a_network_of_convolutions_takes_another_size(lite0: Backbone, size: int) -> None:
    resized = with_input_size(lite0, size)
    assert (resized.input_size, resized.dim, resized.levels) == (size, lite0.dim, lite0.levels)
    assert resized.sha256 != lite0.sha256
    assert resized.weights is lite0.weights
    session, pixels = EmbeddingSession(resized), np.random.default_rng(0).random((2, 3, size, size), np.float32)
    assert (
        session.run(pixels, [lite0.levels[0]])[lite0.levels[0]].shape[2]
        == session.run(pixels[:1], [lite0.levels[0]])[lite0.levels[0]].shape[3]
        > 0
    )
    embeddings = session.embed(pixels)
    assert embeddings.shape == (2, lite0.dim)
    assert np.ptp(embeddings, axis=0).max() > 0
    with pytest.raises(BackboneError):
        session.embed(np.zeros((1, 3, lite0.input_size, lite0.input_size), np.float32))


def test_going_there_and_back_changes_nothing(lite0: Backbone) -> None:
    assert with_input_size(lite0, lite0.input_size) is lite0
    pixels = np.random.default_rng(0).random((1, 3, lite0.input_size, lite0.input_size), np.float32)
    again = with_input_size(with_input_size(lite0, 256), lite0.input_size)
    assert_same_rows(EmbeddingSession(again).embed(pixels), EmbeddingSession(lite0).embed(pixels))


def test_a_graph_for_its_own_size_is_refused() -> None:
    network = flat(32)
    assert EmbeddingSession(network).embed(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 3072)
    with pytest.raises(BackboneError, match="flat: its graph computes images of 32 px only; leave the input size out"):
        with_input_size(network, 64)


@pytest.mark.parametrize("size", [0, -224, 31, 1025])
def test_a_size_out_of_range_is_refused(lite0: Backbone, size: int) -> None:
    with pytest.raises(BackboneError, match="is out of range; give 32 to 1024"):
        with_input_size(lite0, size)


def test_a_missing_library_is_named_with_its_extra(lite0: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackboneError, match=r"pip install 'msde\[onnx\]'"):
        with_input_size(lite0, 96)


@pytest.mark.slow
def test_a_model_keeps_the_size(lite0: Backbone, tmp_path) -> None:
    images = np.random.default_rng(0).random((12, 64, 64))
    model = AnomalyModel(with_input_size(lite0, 96)).fit(images)
    model.save(tmp_path / "m.msde")
    again = AnomalyModel.load(tmp_path / "m.msde")
    assert again.encoder.input_sizes == (96,)
    assert again.score(images[:1])[0].anomaly_score == pytest.approx(model.score(images[:1])[0].anomaly_score)
    assert (
        onnx.load_from_string(again.encoder.backbones[0].graph).graph.input[0].type.tensor_type.shape.dim[2].dim_value
        == 96
    )


@pytest.mark.parametrize("size", [31, 1025])
def test_a_size_out_of_range_is_refused_before_the_network_is_looked_for(size: int) -> None:
    with pytest.raises(BackboneError, match="is out of range; give 32 to 1024"):
        load_backbone("rad-dino", "no such folder", size)


@pytest.mark.parametrize(
    ("size", "patch", "said"),
    [
        (225, (14, 14), "225 px are no whole number of its patches of 14 px; give an input size of 224 or 238"),
        (40, (64, 64), "40 px are no whole number of its patches of 64 px; give an input size of 64$"),
        (40, (16, 8), "its patches of 16x8 px; give an input size of 32 or 48"),
    ],
)
def test_a_size_that_patches_do_not_fill_is_refused(size: int, patch: tuple[int, int], said: str) -> None:
    with pytest.raises(BackboneError, match=said):
        check_patches("net", size, patch)


def test_sizes_that_patches_fill() -> None:
    check_patches("net", 224, (14, 14))
    check_patches("net", 48, (16, 8))
