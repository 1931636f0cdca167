"""ONNX files as other tools write them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from msde.backbones import Backbone, load_backbone
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError, WeightsFileError

KERNEL = np.random.default_rng(0).standard_normal((6, 3, 3, 3), np.float32)


def test_no_onnx_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackboneError, match=r"pip install 'msde\[onnx\]'"):
        load_backbone(f"onnx:{tmp_path / 'net.onnx'}")


def net(batch: int | str = "n", channels: int = 3, size: int | str = 16, half: bool = False, pool: bool = True) -> Any:
    """A convolution whose input and outputs have the names that a backbone's graph has, but other roles."""
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    kernel = KERNEL[:, :channels].astype(np.float16 if half else np.float32)
    nodes = [
        helper.make_node("Conv", ["pixels", "pixel_mean"], ["embedding"], pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["embedding", "", "scales"], ["small"], mode="nearest"),
        helper.make_node("GlobalAveragePool", ["small"], ["means"]),
        helper.make_node("Flatten", ["means"], ["features"]),
    ]
    outputs = [("small", [batch, 6, None, None]), ("embedding", [batch, 6, size, size])]
    outputs += [("features", [batch, 6])] if pool else []
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("pixels", kind, [batch, channels, size, size])],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs],
        [
            numpy_helper.from_array(kernel, "pixel_mean"),
            numpy_helper.from_array(np.array([1, 1, 0.5, 0.5], np.float32), "scales"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def expected(pixels: np.ndarray, kernel: np.ndarray = KERNEL) -> np.ndarray:
    """The same in NumPy: every second pixel of the convolution, averaged."""
    padded = np.pad(pixels, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,kcij->nkhw", windows, kernel)[:, :, ::2, ::2].mean((2, 3))


def close(backbone: Backbone, images: np.ndarray, wanted: np.ndarray, atol: float = 1e-5) -> None:
    found = EmbeddingSession(backbone).embed(images)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol * np.abs(wanted).max())


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.random((11, 3, 16, 16), np.float32)


@pytest.mark.parametrize("batch", ["n", 1])
def test_weights_move_out_of_the_graph(tmp_path: Path, images: np.ndarray, batch: int | str) -> None:
    onnx.save(net(batch), tmp_path / "net.onnx")
    backbone = load_backbone(f"onnx:{tmp_path / 'net.onnx'}")
    close(backbone, images, expected(images))
    assert (backbone.dim, backbone.input_size, backbone.levels) == (6, 16, ("level1", "level2"))
    assert (backbone.name, backbone.source) == ("onnx:net.onnx", "ONNX graph net.onnx")
    assert str(tmp_path) not in str(backbone.describe())
    assert str(tmp_path).encode() not in backbone.graph
    assert any(values.shape == (6, 3, 3, 3) for values in backbone.weights.values())
    assert KERNEL.tobytes() not in backbone.graph
    maps = EmbeddingSession(backbone).run(images[:2], ["level1", "level2"]).values()
    assert [values.shape for values in maps] == [(2, 6, 16, 16), (2, 6, 8, 8)]
    rebuilt = Backbone.from_description(backbone.describe(), backbone.graph, backbone.weights)
    assert rebuilt.sha256 == backbone.sha256


def test_metadata_say_the_normalisation_and_the_size(tmp_path: Path, images: np.ndarray) -> None:
    model = net(size="s")
    said = {"mean": "[0.1, 0.2, 0.3]", "std": "[0.4, 0.5, 0.6]", "input_size": "16", "licence": "MIT"}
    onnx.helper.set_model_props(model, said)
    onnx.save(model, tmp_path / "net.onnx")
    backbone = load_backbone(f"onnx:{tmp_path / 'net.onnx'}")
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    close(backbone, images, expected((images - mean) / std))
    assert (backbone.licence, backbone.mean) == ("MIT", (0.1, 0.2, 0.3))


def test_grey_images(tmp_path: Path, images: np.ndarray) -> None:
    onnx.save(net(channels=1), tmp_path / "net.onnx")
    backbone = load_backbone(f"onnx:{tmp_path / 'net.onnx'}")
    close(backbone, images, expected(images.mean(1, keepdims=True), KERNEL[:, :1]))


def test_half_precision(tmp_path: Path, images: np.ndarray) -> None:
    onnx.save(net(half=True), tmp_path / "net.onnx")
    backbone = load_backbone(f"onnx:{tmp_path / 'net.onnx'}")
    close(backbone, images, expected(images), atol=1e-2)
    assert np.float16 in {values.dtype.type for values in backbone.weights.values()}


def test_weights_in_a_file_beside_it(tmp_path: Path, images: np.ndarray) -> None:
    onnx.save(net(), tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=100)
    close(load_backbone(f"onnx:{tmp_path / 'net.onnx'}"), images, expected(images))
    (tmp_path / "net.data").write_bytes(b"short")
    with pytest.raises(WeightsFileError, match=r"net\.data: cannot be read") as caught:
        load_backbone(f"onnx:{tmp_path / 'net.onnx'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("location", ["../secret", "{secret}", "link", "missing", "", "."])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder, secret = tmp_path / "net", tmp_path / "secret"
    folder.mkdir()
    secret.write_bytes(KERNEL.tobytes())
    (folder / "link").symlink_to(secret)
    model = net()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location.format(secret=secret))
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsFileError, match="are not in its folder"):
        load_backbone(f"onnx:{folder / 'net.onnx'}")


def refused(path: Path, reason: str) -> None:
    with pytest.raises(BackboneError, match=reason) as caught:
        load_backbone(f"onnx:{path}")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_inputs_and_outputs_are_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    path = tmp_path / "net.onnx"
    onnx.save(net(pool=False), path)
    refused(path, r"gives no embedding \(n, dim\) but small \(6, 8, 8\), embedding")
    onnx.save(net(size="s"), path)
    refused(path, "leaves the size of its images open")
    model = net(size="s")
    onnx.helper.set_model_props(model, {"input_size": "large"})
    onnx.save(model, path)
    refused(path, "malformed mean, std or input_size")
    for shape, kind in (
        ([1, 4, 8, 8], "FLOAT"),
        ([1, 3, 8, 9], "FLOAT"),
        (["n", 10], "FLOAT"),
        ([1, 3, 8, 8], "UINT8"),
    ):
        x = helper.make_tensor_value_info("x", TensorProto.DataType.Value(kind), shape)
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])], "g", [x], [helper.make_empty_tensor_value_info("y")]
        )
        path.write_bytes(helper.make_model(graph).SerializeToString())
        refused(path, "input must be")
    text = helper.make_tensor_value_info("text", TensorProto.INT64, ["n", 8])
    model = net()
    model.graph.input.append(text)
    path.write_bytes(model.SerializeToString())
    refused(path, r"not pixels \['\?', 3, 16, 16\], text")


def test_rows_that_depend_on_each_other_are_refused(tmp_path: Path) -> None:
    from onnx import helper

    model = net()
    model.graph.node.append(helper.make_node("ReduceMean", ["features"], ["batch"], axes=[0]))
    model.graph.node.append(helper.make_node("Add", ["features", "batch"], ["mixed"]))
    model.graph.output[2].name = "mixed"
    onnx.save(model, tmp_path / "net.onnx")
    refused_path = tmp_path / "net.onnx"
    with pytest.raises(BackboneError, match="differs from the original network"):
        load_backbone(f"onnx:{refused_path}")


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    refused(path, "cannot be read")
    whole = net().SerializeToString()
    for content in (b"", b"\xff" * 99, b"not a graph", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        refused(path, "no ONNX file|cannot run|input must be|not in its folder")
    with pytest.raises(WeightsFileError, match="leave the checkpoint"):
        load_backbone(f"onnx:{path}", path)


@pytest.mark.slow
def test_torch_is_not_needed(tmp_path: Path) -> None:
    import subprocess

    onnx.save(net(), tmp_path / "net.onnx")
    code = "import sys, msde.backbones as b; b.load_backbone(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, f"onnx:{tmp_path / 'net.onnx'}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_another_size(tmp_path: Path, rng: np.random.Generator) -> None:
    """Of a graph that leaves it open, and of convolutions made for their own."""
    images = rng.random((3, 3, 40, 40), np.float32)
    for size in ("s", 16):
        onnx.save(net(size=size), tmp_path / "net.onnx")
        backbone = load_backbone(f"onnx:{tmp_path / 'net.onnx'}", input_size=40)
        assert backbone.input_size == 40
        close(backbone, images, expected(images))
