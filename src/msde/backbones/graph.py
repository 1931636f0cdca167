"""ONNX graphs as data: weights taken out, so that a graph is small and its weights are arrays by name. Needs onnx."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

# Held outside the graph. Integers of 32 bits and more are shapes and axes, which the runtime reads early.
SMALL = 8  # vectors of no more numbers stay too: the runtime reads factors of resizing as early
WEIGHT_TYPES = ("FLOAT", "FLOAT16", "DOUBLE", "INT8", "UINT8")


def separate(model: onnx.ModelProto) -> tuple[bytes, dict[str, np.ndarray]]:
    """Take the weights out of an ONNX model, and every note on where it was made.

    Returns the model, whose initialisers of the weights are declared as external, without values, and their values by
    name. Short vectors and integers, such as shapes, stay in the graph.
    """
    from onnx import TensorProto, numpy_helper

    types = {TensorProto.DataType.Value(name) for name in WEIGHT_TYPES}
    weights = {}
    for tensor in model.graph.initializer:
        inside = tensor.data_location != TensorProto.EXTERNAL
        small = len(tensor.dims) < 2 and math.prod(tensor.dims) <= SMALL
        if not inside or small or tensor.data_type not in types:
            continue
        weights[tensor.name] = numpy_helper.to_array(tensor).copy()
        name, kind, dims = tensor.name, tensor.data_type, list(tensor.dims)
        tensor.Clear()
        tensor.name, tensor.data_type, tensor.data_location = name, kind, TensorProto.EXTERNAL
        tensor.dims.extend(dims)
        tensor.external_data.add(key="location", value="weights")
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")  # an exporter's notes: stack traces with the paths of this machine
        part.ClearField("doc_string")
    return model.SerializeToString(deterministic=True), weights


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give values of a graph, all at once, other names."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.initializer, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
