"""Any ONNX graph that takes one image and gives an embedding. Needs onnx, not torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msde.backbones.backbone import CLASS_OUTPUT, LOCAL_LICENCE, OWN_LOOKS, Backbone, per_channel, triple
from msde.backbones.export import first_line, require
from msde.backbones.graph import separate
from msde.backbones.input_size import with_input_size
from msde.backbones.onnx_part import OnnxPart, parts
from msde.backbones.parity import HALF_PARITY, PARITY, check_parity, noise
from msde.errors import BackboneError, WeightsFileError

if TYPE_CHECKING:
    import onnx

OWN = "own/"  # put before every name of the file's graph, so that none is one of ours
FLOATS = ("FLOAT", "FLOAT16")
ERRORS_ONLY = 3


def load(
    name: str, target: str, checkpoint: Path | None, entry: Mapping[str, Any], input_size: int | None = None
) -> Backbone:
    """Make a backbone of an ONNX file, the target; weights in files of their own must lie in its folder.

    Its only input is images, (n, 3, size, size) or, grey, (n, 1, size, size). Its first output of two dimensions is the
    embedding; outputs of four are feature maps, and so are those of three, a transformer's tokens: see
    `msde.backbones.onnx_part.parts`. It is given RGB pixels in [0, 1], unless the file's metadata say what it was
    trained with: `mean` and `std`, JSON lists of three numbers, and, where the input's size is left open, `input_size`.
    One given here goes before it.

    Takes no checkpoint, because the file has its weights. Raises BackboneError if onnx is not installed, the file is no
    such graph, or a row's embedding depends on the others.
    """
    require(name, "onnx", "onnx")
    if checkpoint is not None:
        raise WeightsFileError(f"backbone {name}: has weights of its own; leave the checkpoint {checkpoint} out")
    path = Path(target)
    model = read(path)
    channels, size, half = image_input(path, model)
    said = {prop.key: prop.value for prop in model.metadata_props}
    try:
        mean = triple(json.loads(said.get("mean", "[0, 0, 0]")))
        std = triple(json.loads(said.get("std", "[1, 1, 1]")))
        size = size or input_size or int(said["input_size"])
    except KeyError as error:
        raise BackboneError(
            f"{path}: leaves the size of its images open; give an input size, export it with a fixed one, or say it in"
            " the metadata as input_size"
        ) from error
    except (TypeError, ValueError) as error:
        raise BackboneError(f"{path}: its metadata have a malformed mean, std or input_size; write JSON") from error
    pixels = noise(size)
    images = ((pixels - per_channel(mean)) / per_channel(std)).astype(np.float32)
    images = images.mean(1, keepdims=True) if channels == 1 else images
    outputs = run(path, model, images.astype(np.float16 if half else np.float32))
    taken = parts(outputs, size)
    if "embedding" not in taken:
        shapes = ", ".join(f"{output} {values.shape[1:]}" for output, values in outputs.items())
        raise BackboneError(f"{path}: gives no embedding (n, dim) but {shapes} a row; export the pooled features")
    expected = {new: part.of(outputs[part.output]).astype(np.float32) for new, part in taken.items()}
    widths = {new: values.shape[1:2] + (None,) * (values.ndim - 2) for new, values in expected.items()}
    model = with_conversion(model, taken, widths, channels, size, half)
    graph, weights = separate(model)
    weights |= {"pixel_mean": per_channel(mean), "pixel_std": per_channel(std)}
    if channels == 1:
        weights["pixel_grey"] = np.full((1, 3, 1, 1), 1 / 3, np.float32)
    backbone = Backbone(
        name=name,
        input_size=size,
        mean=mean,
        std=std,
        levels=tuple(new for new in taken if new.startswith("level") and not new.endswith(CLASS_OUTPUT)),
        dim=expected["embedding"].shape[1],
        licence=said.get("licence", LOCAL_LICENCE),
        source=f"ONNX graph {path.name}",
        graph=graph,
        weights=weights,
        looks=OWN_LOOKS if any(part.kind == "map" for part in taken.values()) else (),
    )
    check_parity(backbone, pixels, expected, HALF_PARITY if half else PARITY)
    return with_input_size(backbone, input_size)


def read(path: Path) -> onnx.ModelProto:
    """Read an ONNX file and its weights, those in other files of its folder included.

    Raises WeightsFileError if a file cannot be read, is no ONNX file, or names weights outside its folder.
    """
    import onnx
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise WeightsFileError(f"{path}: cannot be read: {error.strerror}; give an ONNX file") from error
    except Exception as error:  # protobuf's error, which is no part of onnx
        raise WeightsFileError(f"{path}: is no ONNX file, or damaged: {first_line(error)}; export it again") from error
    if not model.graph.input:
        raise WeightsFileError(f"{path}: is no ONNX file, or damaged: it has no input; export it again")
    folder = path.resolve().parent
    for tensor in model.graph.initializer:
        if not uses_external_data(tensor):
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        if not (folder / location).resolve().is_relative_to(folder) or not (folder / location).is_file():
            raise WeightsFileError(f"{path}: its weights {location!r} are not in its folder; put them beside it")
        try:
            load_external_data_for_tensor(tensor, str(folder))
        except Exception as error:  # onnx has its own errors for lengths and links that it refuses
            raise WeightsFileError(f"{folder / location}: cannot be read: {first_line(error)}; export again") from error
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT
    return model


def image_input(path: Path, model: onnx.ModelProto) -> tuple[int, int, bool]:
    """Check a graph's input; returns its channels, its side length (0 if left open) and whether it is float16."""
    from onnx import TensorProto

    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    kind = inputs[0].type.tensor_type if len(inputs) == 1 else None
    shape = [dim.dim_value for dim in kind.shape.dim] if kind else []  # 0 where it is left open
    names = [f"{value.name} {[dim.dim_value or '?' for dim in value.type.tensor_type.shape.dim]}" for value in inputs]
    if kind is None or len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3]:
        raise BackboneError(
            f"{path}: its input must be images, (n, 3, size, size) or (n, 1, size, size), not {', '.join(names)}; "
            "export the image encoder alone"
        )
    if TensorProto.DataType.Name(kind.elem_type) not in FLOATS:
        raise BackboneError(f"{path}: its input must be of float32 or float16; export it without quantised input")
    return shape[1], shape[2], kind.elem_type == TensorProto.FLOAT16


def run(path: Path, model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    """Run the file's own graph, one image at a time; returns its outputs by name."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        rows = [session.run(names, {session.get_inputs()[0].name: image[None]}) for image in images]
        return {name: np.concatenate(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    except Exception as error:  # ONNX Runtime's own errors have no common base but this
        raise BackboneError(f"{path}: ONNX Runtime cannot run it: {first_line(error)}") from error


def with_conversion(
    model: onnx.ModelProto,
    taken: Mapping[str, OnnxPart],
    widths: Mapping[str, tuple[int | None, ...]],
    channels: int,
    size: int,
    half: bool,
) -> onnx.ModelProto:
    """Put a conversion of pixels before a graph and name its outputs as a backbone's; other outputs go."""
    from onnx import TensorProto, compose, helper, numpy_helper

    model = compose.add_prefix(model, OWN)
    graph = model.graph
    given = {tensor.name for tensor in graph.initializer}
    image = next(value.name for value in graph.input if value.name not in given)
    shapes = {"pixel_mean": (1, 3, 1, 1), "pixel_std": (1, 3, 1, 1)}
    steps = [
        helper.make_node("Sub", ["pixels", "pixel_mean"], ["centred"]),
        helper.make_node("Div", ["centred", "pixel_std"], ["normalised"]),
    ]
    if channels == 1:
        shapes["pixel_grey"] = (1, 3, 1, 1)
        steps.append(helper.make_node("Conv", ["normalised", "pixel_grey"], ["grey"]))
    last = steps[-1].output[0]
    steps.append(helper.make_node("Cast", [last], [image], to=TensorProto.FLOAT16 if half else TensorProto.FLOAT))
    nodes = [*steps, *graph.node]
    constants: dict[str, np.ndarray] = {}
    for new, part in taken.items():
        ends, needed = part.steps(OWN + part.output, new)
        nodes += ends
        constants |= needed
    graph.ClearField("node")
    graph.node.extend(nodes)
    for name, shape in shapes.items():
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="weights")
        graph.initializer.append(tensor)
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    graph.ClearField("input")
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, size, size]))
    graph.ClearField("output")
    graph.output.extend(
        helper.make_tensor_value_info(new, TensorProto.FLOAT, ["n", *width]) for new, width in widths.items()
    )
    graph.ClearField("value_info")  # it may tell of a batch of one
    return model
