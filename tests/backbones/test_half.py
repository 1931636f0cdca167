from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto
from tests.scores import assert_same_rows

from msde import AnomalyModel
from msde.backbones import Backbone
from msde.backbones.graph import with_weights
from msde.backbones.half import megabytes, with_half_weights
from msde.backbones.quantize import with_int8_weights
from msde.backbones.session import EmbeddingSession
from msde.cli.stored_weights import stored
from msde.errors import BackboneError


@pytest.fixture(scope="module")
def half(lite0: Backbone) -> Backbone:
    return with_half_weights(lite0)


@pytest.mark.slow
def test_embeddings_stay_close(half: Backbone, lite0_session: EmbeddingSession, pixels: np.ndarray) -> None:
    expected = lite0_session.embed(pixels)
    found = EmbeddingSession(half).embed(pixels)
    assert 0 < np.abs(found - expected).max() < 5e-3 * np.abs(expected).max()


def test_it_takes_half_the_space_and_says_what_it_is(half: Backbone, lite0: Backbone) -> None:
    assert megabytes(half) < 0.52 * megabytes(lite0)
    assert half.name == f"{lite0.name} half"
    assert {values.dtype for values in half.weights.values()} == {np.dtype(np.float16), np.dtype(np.float32)}
    assert all(values.ndim > 1 for values in half.weights.values() if values.dtype == np.float16)
    assert half.sha256 != lite0.sha256


@pytest.mark.slow
def test_row_does_not_depend_on_its_batch(half: Backbone, pixels: np.ndarray) -> None:
    session = EmbeddingSession(half)
    alone = np.concatenate([session.embed(row[None]) for row in pixels])
    np.testing.assert_allclose(session.embed(pixels), alone, rtol=1e-6, atol=1e-6 * np.abs(alone).max())


@pytest.mark.slow
def test_a_model_of_it_is_read_without_onnx(network: Backbone, discs: Path, tmp_path: Path) -> None:
    model = AnomalyModel(with_half_weights(network)).fit(discs / "train", heatmaps=False)
    model.save(tmp_path / "m.msde")
    code = "import sys; from msde import AnomalyModel; print(AnomalyModel.load(sys.argv[1]).encoder.backbones[0].name)"
    code += "; assert 'onnx' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.msde")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "efficientnet_lite0 half"


def test_weights_beyond_its_range_stay(lite0: Backbone) -> None:
    name = next(key for key, values in lite0.weights.items() if values.ndim == 4 and values.size > 1024)
    large = dataclasses.replace(lite0, weights=lite0.weights | {name: lite0.weights[name] * np.float32(1e8)})
    assert with_half_weights(large).weights[name].dtype == np.float32


def test_a_network_that_halves_would_change_is_refused(network: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msde.backbones.half.HALF_PARITY", 1e-6)
    with pytest.raises(BackboneError, match="half: embedding of its ONNX graph differs"):
        with_half_weights(network)


def test_a_network_without_such_weights_is_refused(lite0: Backbone) -> None:
    small = dataclasses.replace(lite0, weights={})
    with pytest.raises(BackboneError, match="leave half out"):
        with_half_weights(small)


def test_a_fit_stores_large_networks_so_and_others_when_asked_to(
    network: Backbone, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stored(network, None) is network
    assert stored(network, False) is network
    assert stored(network, True).name.endswith(" half")
    monkeypatch.setattr("msde.backbones.half.LARGE", 1000)
    capsys.readouterr()
    assert stored(network, None).name.endswith(" half")
    assert "in half precision: 0 MB, not 0" in capsys.readouterr().err
    bare = dataclasses.replace(network, weights={name: values[:0] for name, values in network.weights.items()})
    monkeypatch.setattr("msde.backbones.half.LARGE", -1)
    assert stored(bare, None) is bare
    assert "its weights are stored as they are" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kept", [lambda backbone: backbone, with_half_weights, with_int8_weights])
def test_a_graph_and_its_weights_become_a_file_again(
    lite0: Backbone, pixels: np.ndarray, kept: Callable[[Backbone], Backbone]
) -> None:
    backbone = kept(lite0)
    whole = with_weights(backbone.graph, backbone.weights)
    held = {tensor.name: tensor for tensor in onnx.load_from_string(whole).graph.initializer}
    assert {tensor.data_type for tensor in held.values() if len(tensor.dims) > 1} == {TensorProto.FLOAT}
    assert not any(tensor.data_location for tensor in held.values())
    found = ort.InferenceSession(whole, providers=["CPUExecutionProvider"]).run(["embedding"], {"pixels": pixels[:2]})
    assert_same_rows(found[0], EmbeddingSession(backbone).embed(pixels[:2]))
