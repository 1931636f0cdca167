"""ONNX graphs as data: weights taken out, so that a graph is small and its weights are arrays by name. Needs onnx."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from msde.backbones.backbone import Backbone

if TYPE_CHECKING:
    import onnx

# Held outside the graph. Integers of 32 bits and more are shapes and axes, which the runtime reads early.
SMALL = 8  # vectors of no more numbers stay too: the runtime reads factors of resizing as early
WEIGHT_TYPES = ("FLOAT", "FLOAT16", "DOUBLE", "INT8", "UINT8")


_STEPS: dict[str, Callable[..., np.ndarray]] = {
    "Cast": lambda values: values.astype(np.float32),
    "Mul": lambda values, scale: values * scale,
}


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


def with_weights(graph: bytes, weights: Mapping[str, np.ndarray]) -> bytes:
    """Put weights back into the graph that `separate` left, as float32 where `with_steps` stored them otherwise.

    Raises ValueError if the whole is larger than the 2 GB that a message may have.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(graph)
    known = dict(weights)
    left = [node for node in model.graph.node if not _computed(node, known)]
    needed = {name for node in left for name in node.input}
    declared = [tensor for tensor in model.graph.initializer if tensor.name not in known]
    declared += [numpy_helper.from_array(np.ascontiguousarray(known[name]), name) for name in known if name in needed]
    _replace(model.graph, declared, left)
    return model.SerializeToString()


def _computed(node: onnx.NodeProto, known: dict[str, np.ndarray]) -> bool:
    """Compute a node of weights alone, where it is such a one as `with_steps` puts before the others."""
    from onnx import TensorProto

    to = [attribute.i for attribute in node.attribute if attribute.name == "to"] or [TensorProto.FLOAT]
    if node.op_type not in _STEPS or to != [TensorProto.FLOAT] or not all(name in known for name in node.input):
        return False
    known[node.output[0]] = _STEPS[node.op_type](*(known[name] for name in node.input))
    return True


def with_steps(
    backbone: Backbone, stored: Mapping[str, Mapping[str, np.ndarray]], steps: Sequence[onnx.NodeProto]
) -> Backbone:
    """Store weights otherwise, and compute them of that before anything else, which a runtime does once.

    `stored` are the new weights by name, by the name of the weight that they take the place of; the steps give these.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(backbone.graph)
    weights = {name: values for name, values in backbone.weights.items() if name not in stored}
    declared = [tensor for tensor in model.graph.initializer if tensor.name not in stored]
    for name, values in ((name, values) for parts in stored.values() for name, values in parts.items()):
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=values.shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="weights")
        declared.append(tensor)
        weights[name] = values
    _replace(model.graph, declared, [*steps, *model.graph.node])
    return replace(backbone, graph=model.SerializeToString(deterministic=True), weights=weights)


def _replace(graph: onnx.GraphProto, initializers: Sequence[onnx.TensorProto], nodes: Sequence[onnx.NodeProto]) -> None:
    for field, kept in ((graph.initializer, initializers), (graph.node, nodes)):
        del field[:]
        field.extend(kept)


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give values of a graph, all at once, other names."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.initializer, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
