"""An ONNX graph that is put together node by node around networks; needs the extra `onnx`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from msde.backbones.backbone import Backbone
from msde.errors import BackboneError

_PREFIX = "msde/"
_LAST_WITH_ATTRIBUTES = 17  # opset: from the next on, what is reduced is an input


class GraphBuilder:
    """Nodes, constants and whole networks of one ONNX model; every method returns the name of what it adds.

    Parameters
    ----------
    backbones : sequence of Backbone
        The networks.
    """

    def __init__(self, backbones: Sequence[Backbone]) -> None:
        try:
            import onnx
        except ImportError as error:
            raise BackboneError("an export needs onnx; run `pip install 'msde[onnx]'`") from error
        self._onnx, self._helper, self._numpy = onnx, onnx.helper, onnx.numpy_helper
        self._networks = [onnx.load_from_string(backbone.graph) for backbone in backbones]
        self._backbones = list(backbones)
        opsets = [{entry.domain: entry.version for entry in model.opset_import} for model in self._networks]
        self._opsets = {name: version for opset in opsets for name, version in opset.items()}
        if any(opset.get("") != self._opsets[""] for opset in opsets):
            raise BackboneError("the networks are graphs of different versions of ONNX, which one graph cannot hold")
        self._nodes: list[Any] = []
        self._weights: dict[str, NDArray[Any]] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._functions: list[Any] = []
        self.ones = self.constant(np.array([1], np.int64))

    def takes(self, name: str, shape: Sequence[int | None]) -> None:
        """State an input of 32 bits."""
        self._inputs.append(self._value(name, np.float32, shape))

    def gives(self, name: str, kind: DTypeLike, shape: Sequence[int | None]) -> None:
        """State an output."""
        self._outputs.append(self._value(name, kind, shape))

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        name = f"{_PREFIX}{kind.lower()}{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def named(self, name: str, value: str) -> str:
        """Give a value a name of its own."""
        self._nodes.append(self._helper.make_node("Identity", [value], [name], _PREFIX + name))
        return name

    def constant(self, value: NDArray[Any] | np.generic | float) -> str:
        """Add a constant."""
        name = f"{_PREFIX}constant{len(self._weights)}"
        self._weights[name] = np.ascontiguousarray(value).reshape(np.shape(value))
        return name

    def halves(self, value: NDArray[np.float16]) -> str:
        """Add a constant that is kept in 16 bits and computed with in 64."""
        return self.cast(self.constant(value), np.float64)

    def cast(self, value: str, kind: DTypeLike) -> str:
        """Change the type of a value."""
        return self.add("Cast", value, to=self._type(kind))

    def column(self, value: str) -> str:
        """Turn (n,) into (n, 1)."""
        return self.add("Unsqueeze", value, self.ones)

    def sum(self, value: str, axis: int, keep: bool = False) -> str:
        """Sum along an axis."""
        return self.add("ReduceSum", value, self.constant(np.array([axis], np.int64)), keepdims=int(keep))

    def mean(self, value: str, axis: int, keep: bool = False) -> str:
        """Average along an axis."""
        return self._reduced("ReduceMean", value, [axis], keep)

    def over_places(self, kind: str, maps: str, keep: bool = False) -> str:
        """Reduce feature maps (n, c, h, w) over their places."""
        return self._reduced(kind, maps, [2, 3], keep)

    def squared_length(self, rows: str) -> str:
        """Sum the squares of each row."""
        return self.sum(self.add("Mul", rows, rows), axis=1)

    def linear(self, rows: str, offset: Any, scale: Any) -> str:
        """Take off an offset, and divide, in 64 bits."""
        centred = self.add("Sub", rows, self.constant(np.asarray(offset, np.float64)))
        return self.add("Div", centred, self.constant(np.asarray(scale, np.float64)))

    def slice(
        self, value: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
    ) -> str:
        """Take every so many places along axes."""
        return self.add("Slice", value, *(self.constant(np.array(p, np.int64)) for p in (starts, ends, axes, steps)))

    def top(self, rows: str, k: int, largest: bool) -> tuple[str, str]:
        """Find the k largest or smallest of each row: values and places."""
        names = [f"{_PREFIX}top{len(self._nodes)}{part}" for part in ("", ".places")]
        count = self.constant(np.array([k], np.int64))
        self._nodes.append(
            self._helper.make_node("TopK", [rows, count], names, names[0], axis=1, largest=int(largest), sorted=1)
        )
        return names[0], names[1]

    def last_of_top(self, rows: str, k: int, largest: bool) -> str:
        """Find the k-th largest or smallest of each row, (n, 1)."""
        return self.slice(self.top(rows, k, largest)[0], starts=[k - 1], ends=[k], axes=[1], steps=[1])

    def split(self, value: str, n: int) -> list[str]:
        """Cut rows into n equal parts."""
        if n == 1:
            return [value]
        names = [f"{_PREFIX}split{len(self._nodes)}.{part}" for part in range(n)]
        parts = {} if self._opsets[""] <= _LAST_WITH_ATTRIBUTES else {"num_outputs": n}
        self._nodes.append(self._helper.make_node("Split", [value], names, names[0], axis=0, **parts))
        return names

    def network(self, number: int, pixels: str) -> dict[str, str]:
        """Add one of the networks; return the names of its outputs by the names that it has for them."""
        prefix = f"network{number}/"
        model = self._onnx.compose.add_prefix(self._networks[number], prefix)
        renamed = {prefix + "pixels": pixels}
        for node in model.graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            self._nodes.append(node)
        given = {prefix + name: values for name, values in self._backbones[number].weights.items()}
        own = (tensor for tensor in model.graph.initializer if tensor.name not in given)
        self._weights |= given | {tensor.name: self._numpy.to_array(tensor) for tensor in own}
        self._functions += model.functions
        return {output.name.removeprefix(prefix): output.name for output in model.graph.output}

    def model(self) -> Any:
        """Put it together."""
        weights = [self._numpy.from_array(np.asarray(values), name) for name, values in self._weights.items()]
        graph = self._helper.make_graph(self._nodes, "msde", self._inputs, self._outputs, weights)
        opsets = [self._helper.make_opsetid(name, version) for name, version in self._opsets.items()]
        return self._helper.make_model(
            graph,
            opset_imports=opsets,
            functions=self._functions,
            ir_version=max(model.ir_version for model in self._networks),
            producer_name="msde",
        )

    def _reduced(self, kind: str, value: str, axes: list[int], keep: bool) -> str:
        if self._opsets[""] <= _LAST_WITH_ATTRIBUTES:
            return self.add(kind, value, axes=axes, keepdims=int(keep))
        return self.add(kind, value, self.constant(np.array(axes, np.int64)), keepdims=int(keep))

    def _type(self, kind: DTypeLike) -> int:
        return int(self._helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def _value(self, name: str, kind: DTypeLike, shape: Sequence[int | None]) -> Any:
        return self._helper.make_tensor_value_info(name, self._type(kind), ["n" if n is None else n for n in shape])
