"""A backbone whose weights are stored as 8-bit integers. Needs onnx; the backbone that comes out does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msde.backbones.backbone import Backbone
from msde.backbones.export import require
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
    weights = {name: values for name, values in backbone.weights.items() if name not in axes}
    declared = [tensor for tensor in model.graph.initializer if tensor.name not in axes]
    steps = []
    for name, axis in axes.items():
        values = backbone.weights[name]
        if not np.isfinite(values).all():
            raise BackboneError(f"backbone {backbone.name}: weight {name} is not finite; get its file again")
        whole, scale = quantized(values, axis)
        for part, stored in ((f"{name}.int8", whole), (f"{name}.scale", scale)):
            kind = helper.np_dtype_to_tensor_dtype(stored.dtype)
            tensor = TensorProto(name=part, data_type=kind, dims=stored.shape, data_location=TensorProto.EXTERNAL)
            tensor.external_data.add(key="location", value="weights")
            declared.append(tensor)
            weights[part] = stored
        steps += [
            helper.make_node("Cast", [f"{name}.int8"], [f"{name}.whole"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]),
        ]
    nodes = [*steps, *model.graph.node]
    model.graph.ClearField("initializer")
    model.graph.initializer.extend(declared)
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    graph = model.SerializeToString(deterministic=True)
    return replace(backbone, name=f"{backbone.name} int8", graph=graph, weights=weights)


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
