from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import click
import numpy as np
import onnxruntime as ort
import pytest
from tests.scores import assert_same_rows

from msde import AnomalyModel
from msde.backbones import Backbone
from msde.backbones.session import BATCH, EmbeddingSession
from msde.cli.main import msde
from msde.errors import BackboneError


def test_shape_and_type(lite0: Backbone, lite0_session: EmbeddingSession, pixels: np.ndarray) -> None:
    embeddings = lite0_session.embed(pixels)
    assert embeddings.shape == (len(pixels), lite0.dim)
    assert embeddings.dtype == np.float32
    assert embeddings.std(axis=0).min() > 0  # every dimension answers to the images


@pytest.mark.slow
def test_row_does_not_depend_on_its_batch(lite0_session: EmbeddingSession, pixels: np.ndarray) -> None:
    alone = np.concatenate([lite0_session.embed(row[None]) for row in pixels])
    for size in (2, 3, 5, BATCH, BATCH + 1, 19):
        batches = [lite0_session.embed(pixels[i : i + size]) for i in range(0, len(pixels), size)]
        assert_same_rows(np.concatenate(batches), alone)


def test_row_does_not_depend_on_the_order(lite0_session: EmbeddingSession, pixels: np.ndarray) -> None:
    assert_same_rows(lite0_session.embed(pixels[::-1])[::-1], lite0_session.embed(pixels))


def test_same_result_in_every_session_and_number_of_threads(
    lite0: Backbone, lite0_session: EmbeddingSession, pixels: np.ndarray
) -> None:
    expected = lite0_session.embed(pixels[:3])
    for threads in (1, 2, 3):
        assert_same_rows(EmbeddingSession(lite0, threads).embed(pixels[:3]), expected)


def test_no_rows(lite0: Backbone, lite0_session: EmbeddingSession) -> None:
    assert lite0_session.embed(np.empty((0, 3, 224, 224), np.float32)).shape == (0, lite0.dim)


@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 1, 224, 224), (1, 3, 224, 223), (1, 224, 224, 3)])
def test_wrong_shape_is_refused(lite0_session: EmbeddingSession, shape: tuple[int, ...]) -> None:
    with pytest.raises(BackboneError, match=r"\(n, 3, 224, 224\)"):
        lite0_session.embed(np.zeros(shape, np.float32))


def test_wrong_type_is_refused(lite0_session: EmbeddingSession) -> None:
    with pytest.raises(BackboneError, match="uint8"):
        lite0_session.embed(np.zeros((1, 3, 224, 224), np.uint8))


@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0, np.nan, np.inf])
def test_pixels_out_of_range_are_refused(lite0_session: EmbeddingSession, pixels: np.ndarray, value: float) -> None:
    pixels[17, 1, 100, 100] = value
    with pytest.raises(BackboneError, match=r"\[0, 1\]"):
        lite0_session.embed(pixels)


@pytest.mark.parametrize("value", [-1e-6, 1 + 1e-6])
def test_rounding_is_tolerated(lite0_session: EmbeddingSession, pixels: np.ndarray, value: float) -> None:
    pixels[0, 0, 0, 0] = value
    assert np.isfinite(lite0_session.embed(pixels[:1])).all()


def test_missing_weight_is_refused(lite0: Backbone) -> None:
    weights = {name: values for name, values in lite0.weights.items() if name != "_bn0.weight"}
    with pytest.raises(BackboneError, match="do not fit together") as caught:
        EmbeddingSession(dataclasses.replace(lite0, weights=weights))
    assert "\n" not in str(caught.value)


def test_weight_of_another_shape_is_refused(lite0: Backbone) -> None:
    weights = lite0.weights | {"_bn0.weight": np.ones(31, np.float32)}
    with pytest.raises(BackboneError, match="do not fit together"):
        EmbeddingSession(dataclasses.replace(lite0, weights=weights))


def test_damaged_graph_is_refused(lite0: Backbone) -> None:
    with pytest.raises(BackboneError, match="do not fit together"):
        EmbeddingSession(dataclasses.replace(lite0, graph=lite0.graph[:1000]))


def test_weights_in_any_memory_layout(lite0: Backbone, lite0_session: EmbeddingSession, pixels: np.ndarray) -> None:
    weights = {name: np.asfortranarray(values) for name, values in lite0.weights.items()}
    session = EmbeddingSession(dataclasses.replace(lite0, weights=weights))
    assert_same_rows(session.embed(pixels[:2]), lite0_session.embed(pixels[:2]))


def test_embedding_a_picture_imports_nothing_heavy() -> None:
    code = """
import sys
import numpy as np
from msde.backbones import load_backbone
from msde.backbones.session import EmbeddingSession
EmbeddingSession(load_backbone()).embed(np.zeros((1, 3, 224, 224), np.float32))
heavy = {"torch", "timm", "onnx", "sklearn", "scipy", "pandas"}
print(sorted({name.partition(".")[0] for name in sys.modules} & heavy))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_backbones_does_not_import_the_runtime() -> None:
    code = "import sys, msde.backbones; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_device_is_refused(lite0: Backbone) -> None:
    with pytest.raises(BackboneError, match="'tpu' is unknown; give cpu, openvino or cuda"):
        EmbeddingSession(lite0, 1, "tpu")


def test_a_device_without_its_runtime_is_refused(lite0: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackboneError, match="install onnxruntime-gpu in place of onnxruntime, or leave the device out"):
        EmbeddingSession(lite0, 1, "cuda")


def test_openvino_where_it_is_not_installed(lite0: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msde.backbones.openvino_runtime.find_spec", lambda name: None)
    with pytest.raises(BackboneError, match=r"needs openvino and onnx; run `pip install 'msde\[openvino\]'`"):
        EmbeddingSession(lite0, 1, "openvino")


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="has CUDA")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_falling_back_to_the_processor_is_refused(lite0: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(BackboneError, match="found no usable one"):
        EmbeddingSession(lite0, 1, "cuda")


def test_a_model_for_an_absent_device_is_no_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackboneError, match="device cuda"):
        AnomalyModel.load("any.msde", device="cuda")


@pytest.mark.parametrize("command", ["fit", "score", "evaluate", "calibrate"])
def test_the_device_is_an_option_of_each_command_that_embeds(command: str) -> None:
    (device,) = (option for option in msde.get_command(click.Context(msde), command).params if option.name == "device")
    assert device.envvar == "MSDE_DEVICE"
    assert device.default == "cpu"


QUIET = """
import os, sys
from msde.backbones import {module}
assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1", "{module}"
"""


@pytest.mark.parametrize("module", ["session", "onnx_runtime", "onnx_file"])
def test_telemetry_is_off_before_the_library_is_imported(module: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", QUIET.format(module=module)], env=environment, check=True)


HOLD = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from msde.backbones.registry import load_backbone
from msde.backbones.session import EmbeddingSession
from msde.serve.memory import resident, trim
session = EmbeddingSession(load_backbone("efficientnet_lite0"), 1)
pixels = np.random.default_rng(0).random((8, 3, 224, 224), np.float32)
before = session.embed(pixels)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(session.embed, [pixels] * 8))
trim()
held = resident()
session.give_back()
trim()
print(held, resident(), np.array_equal(before, session.embed(pixels)))
"""


@pytest.mark.slow
def test_memory_of_passes_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, check=True)
    held, left, same = done.stdout.split()
    assert int(left) < int(held) - 100_000_000
    assert same == "True"
