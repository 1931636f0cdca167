from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx import TensorProto, helper, numpy_helper

from msde import AnomalyModel
from msde.backbones import Backbone
from msde.backbones.graph import separate
from msde.backbones.quantize import quantized, with_int8_weights
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError

SIZE = 8
FEATURES = 3 * SIZE * SIZE
weights = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False),
)


@pytest.fixture(scope="module")
def small(lite0: Backbone) -> Backbone:
    return with_int8_weights(lite0)


def product(node: onnx.NodeProto, values: np.ndarray) -> Backbone:
    """Make a backbone of one matrix product."""
    steps = [helper.make_node("Flatten", ["pixels"], ["flat"]), node]
    graph = helper.make_graph(
        steps,
        "product",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", None])],
        [numpy_helper.from_array(values, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    binary, held = separate(model)
    return Backbone("product", SIZE, (0, 0, 0), (1, 1, 1), (), 5, "none", "a test", binary, held)


@given(weights, st.integers(-1, 1))
def test_a_weight_is_off_by_half_a_scale_at_most(values: np.ndarray, axis: int) -> None:
    whole, scale = quantized(values, axis)
    assert whole.dtype == np.int8
    assert whole.shape == values.shape
    assert scale.dtype == np.float32
    assert scale.shape == tuple(n if i == axis % values.ndim else 1 for i, n in enumerate(values.shape))
    off = np.abs(whole.astype(np.float64) * scale - values)
    assert (off <= scale * (0.5 + 1e-4)).all()


@given(weights)
def test_zeros_stay_and_whole_weights_come_back(values: np.ndarray) -> None:
    values[0] = 0
    whole, scale = quantized(values, 0)
    assert not whole[0].any()
    np.testing.assert_array_equal(quantized(whole * scale, 0)[0], whole)


@pytest.mark.slow
def test_embeddings_stay_close(small: Backbone, lite0_session: EmbeddingSession, pixels: np.ndarray) -> None:
    expected = lite0_session.embed(pixels)
    found = EmbeddingSession(small).embed(pixels)
    off = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0 < off.max() < 0.06


def test_row_does_not_depend_on_its_batch(small: Backbone, pixels: np.ndarray) -> None:
    session = EmbeddingSession(small)
    alone = np.concatenate([session.embed(row[None]) for row in pixels])
    np.testing.assert_allclose(session.embed(pixels), alone, rtol=1e-6, atol=1e-6 * np.abs(alone).max())


def test_feature_maps_are_kept(small: Backbone, lite0: Backbone, pixels: np.ndarray) -> None:
    assert set(EmbeddingSession(small).run(pixels[:1], lite0.levels)) == set(lite0.levels)


def test_it_is_smaller_and_says_what_it_is(small: Backbone, lite0: Backbone) -> None:
    sizes = [sum(values.nbytes for values in backbone.weights.values()) for backbone in (small, lite0)]
    assert sizes[0] < 0.35 * sizes[1]
    assert small.name == f"{lite0.name} int8"
    assert (small.licence, small.source, small.dim, small.levels) == (
        lite0.licence,
        lite0.source,
        lite0.dim,
        lite0.levels,
    )
    assert small.sha256 != lite0.sha256


def test_it_is_the_same_each_time(small: Backbone, lite0: Backbone) -> None:
    assert with_int8_weights(lite0).sha256 == small.sha256


@pytest.mark.parametrize(("kind", "options", "axis"), [("MatMul", {}, 1), ("Gemm", {}, 1), ("Gemm", {"transB": 1}, 0)])
def test_each_output_has_a_scale_of_its_own(
    kind: str, options: dict[str, int], axis: int, rng: np.random.Generator
) -> None:
    shape = (FEATURES, 5) if axis == 1 else (5, FEATURES)
    gains = np.array([1e-6, 1e-3, 1, 1e3, 1e6], np.float32)
    values = rng.standard_normal(shape, np.float32) * (gains if axis == 1 else gains[:, None])
    whole = product(helper.make_node(kind, ["flat", "weight"], ["embedding"], **options), values)
    pixels = rng.random((4, 3, SIZE, SIZE), np.float32)
    expected, found = (EmbeddingSession(each).embed(pixels) for each in (whole, with_int8_weights(whole)))
    assert (np.abs(found - expected) < 0.3 * gains).all()


def test_what_is_int8_already_is_refused(small: Backbone) -> None:
    with pytest.raises(BackboneError, match="no float32 weights"):
        with_int8_weights(small)


def test_a_damaged_weight_is_refused(lite0: Backbone) -> None:
    name = next(name for name, values in lite0.weights.items() if values.size > 100_000)
    broken = dataclasses.replace(lite0, weights=lite0.weights | {name: lite0.weights[name] * np.float32(np.nan)})
    with pytest.raises(BackboneError, match="is not finite"):
        with_int8_weights(broken)


def test_without_onnx_it_says_what_to_install(lite0: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackboneError, match=r"pip install 'msde\[onnx\]'"):
        with_int8_weights(lite0)


@pytest.mark.slow
def test_a_model_file_of_it_scores_without_onnx(small: Backbone, pixels: np.ndarray, tmp_path: Path) -> None:
    pictures = list(pixels.transpose(0, 2, 3, 1))
    model = AnomalyModel(small, looks=["plain:mean:level2"]).fit(pictures)
    path = tmp_path / "small.msde"
    model.save(path)
    np.save(tmp_path / "picture.npy", pictures[0])
    code = f"""
import sys
import numpy as np
from msde import AnomalyModel
print(AnomalyModel.load({str(path)!r}).score([np.load({str(tmp_path / "picture.npy")!r})])[0].anomaly_score)
print("onnx" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    score, imported = done.stdout.split()
    assert float(score) == pytest.approx(model.score(pictures[:1])[0].anomaly_score, rel=1e-5)
    assert imported == "False"
