"""A backbone whose weights are stored as 8-bit integers. Needs onnx; the backbone that comes out does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.backbones.backbone import Backbone
from msde.backbones.export import require
from msde.backbones.graph import with_steps
from msde.errors import BackboneError

if TYPE_CHECKING:
    import onnx

LARGEST = 127
FEWEST = 64  # weights an output channel; the errors of fewer do not average out, and they take little room
PRODUCTS = ("Conv", "Gemm", "MatMul")  # their second input may be a weight


def with_int8_weights(backbone: Backbone) -> Backbone:
    """Store the weights of convolutions and matrix products as int8, with a scale for each output channel.

    The network still computes in float32: the graph multiplies integers and scales before anything else, which ONNX
    Runtime does once, when a session begins. So the speed is that of the original, and a row's embedding does not
    depend on its batch, as it would where activations are quantised by the range they have in the batch.

    Weights of other types than float32 and other operators, and the first and depthwise convolutions, which have few
    weights a channel, stay as they are. The name ends in " int8". Raises BackboneError if onnx is not installed, no
    weight is such a one, or one is not finite.
    """
    require(f"{backbone.name} int8", "onnx", "onnx")
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(backbone.graph)
    products = [node for node in model.graph.node if node.op_type in PRODUCTS]
    axes = {node.input[1]: _channel_axis(node) for node in products}
    axes = {name: axis for name, axis in axes.items() if _is_worth_it(backbone.weights.get(name), axis)}
    if not axes:
        raise BackboneError(f"backbone {backbone.name}: has no float32 weights that int8 could hold; leave int8 out")
    stored: dict[str, dict[str, NDArray[Any]]] = {}
    steps = []
    for name, axis in axes.items():
        values = backbone.weights[name]
        if not np.isfinite(values).all():
            raise BackboneError(f"backbone {backbone.name}: weight {name} is not finite; get its file again")
        whole, scale = quantized(values, axis)
        stored[name] = {f"{name}.int8": whole, f"{name}.scale": scale}
        steps += [
            helper.make_node("Cast", [f"{name}.int8"], [f"{name}.whole"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]),
        ]
    return replace(with_steps(backbone, stored, steps), name=f"{backbone.name} int8")


def quantized(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round finite weights to integers in [-127, 127] times a positive scale for each position along an axis.

    The scale has length 1 along the other axes; off from whole times scale a value is by half a scale at most.
    """
    others = tuple(number for number in range(values.ndim) if number != axis % values.ndim)
    scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(LARGEST)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    return np.rint(values / scale).astype(np.int8), scale


def _channel_axis(node: onnx.NodeProto) -> int:
    """Return the axis of an operator's weight that holds its output channels."""
    if node.op_type == "Conv" or any(attribute.name == "transB" and attribute.i for attribute in node.attribute):
        return 0
    return -1


def _is_worth_it(values: np.ndarray | None, axis: int) -> bool:
    return values is not None and values.dtype == np.float32 and values.size >= FEWEST * values.shape[axis] > 0
