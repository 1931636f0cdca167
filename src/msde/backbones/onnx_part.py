"""What a backbone takes of the outputs of somebody's ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from msde.backbones.backbone import CLASS_OUTPUT

if TYPE_CHECKING:
    import onnx

MOST_PREFIX = 16  # tokens before those of the patches: of the class, of registers


@dataclass(frozen=True)
class OnnxPart:
    """One output, or a part of it.

    Parameters
    ----------
    output : str
        Name in the graph.
    kind : {"whole", "map", "class", "mean"}
        All of it; or, of tokens (n, prefix + side * side, c), those of patches as a map (n, c, side, side), the first
        one (n, c), or the mean of those of patches (n, c).
    n_prefix, side : int
        Of tokens.
    """

    output: str
    kind: Literal["whole", "map", "class", "mean"] = "whole"
    n_prefix: int = 0
    side: int = 0

    def of(self, values: np.ndarray) -> np.ndarray:
        """Take it of the output's values."""
        patches = values[:, self.n_prefix :]
        if self.kind == "whole":
            return values
        if self.kind == "class":
            return np.asarray(values[:, 0])
        if self.kind == "mean":
            return np.asarray(patches.mean(1))
        return patches.transpose(0, 2, 1).reshape(len(values), -1, self.side, self.side)

    def steps(self, source: str, name: str) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
        """Return the nodes that make `name` of `source` inside a graph, and the constants that they need."""
        from onnx import TensorProto, helper

        end = helper.make_node("Cast", [f"{name}/taken"], [name], to=TensorProto.FLOAT)
        if self.kind == "whole":
            return [helper.make_node("Cast", [source], [name], to=TensorProto.FLOAT)], {}
        if self.kind == "class":
            first = {f"{name}/first": np.array(0)}
            return [helper.make_node("Gather", [source, *first], [f"{name}/taken"], axis=1), end], first
        bounds = {f"{name}/from": [self.n_prefix], f"{name}/to": [np.iinfo(np.int64).max], f"{name}/axis": [1]}
        constants = {key: np.array(value, np.int64) for key, value in bounds.items()}
        cut = helper.make_node("Slice", [source, *constants], [f"{name}/patches"])
        if self.kind == "mean":
            mean = helper.make_node("GlobalAveragePool", [f"{name}/turned"], [f"{name}/pooled"])
            shape = {f"{name}/shape": np.array([0, -1], np.int64)}
            flat = helper.make_node("Reshape", [f"{name}/pooled", *shape], [f"{name}/taken"])
            return [cut, self._turned(name), mean, flat, end], constants | shape
        shape = {f"{name}/shape": np.array([0, -1, self.side, self.side], np.int64)}
        laid = helper.make_node("Reshape", [f"{name}/turned", *shape], [f"{name}/taken"])
        return [cut, self._turned(name), laid, end], constants | shape

    @staticmethod
    def _turned(name: str) -> onnx.NodeProto:
        from onnx import helper

        return helper.make_node("Transpose", [f"{name}/patches"], [f"{name}/turned"], perm=[0, 2, 1])


def parts(outputs: Mapping[str, np.ndarray], size: int) -> dict[str, OnnxPart]:
    """Choose what a backbone takes of a graph's outputs, by the names of its own outputs.

    The embedding is the first output of two dimensions, else the class token of the last tokens, or the mean of their
    patches where there is none. Levels are outputs of four dimensions, finest first, and tokens in the graph's order,
    whose patches lie in a square grid that divides the `size` of the images; what stands before them are the class
    token and registers.

    Returns
    -------
    dict of str to OnnxPart
        Without "embedding" where there is nothing to make it of.
    """
    flat = [name for name, values in outputs.items() if values.ndim == 2 and values.shape[1] > 1]
    maps = sorted((o for o, v in outputs.items() if v.ndim == 4), key=lambda o: -outputs[o].shape[2])
    grids = {name: _grid(values.shape[1], size) for name, values in outputs.items() if values.ndim == 3}
    tokens = {name: grid for name, grid in grids.items() if grid is not None}
    taken: dict[str, OnnxPart] = {}
    if flat:
        taken["embedding"] = OnnxPart(flat[0])
    elif tokens:
        last, (n_prefix, side) = list(tokens.items())[-1]
        taken["embedding"] = OnnxPart(last, "class" if n_prefix else "mean", n_prefix, side)
    levels = [OnnxPart(name) for name in maps] + [OnnxPart(name, "map", *grid) for name, grid in tokens.items()]
    taken |= {f"level{number}": level for number, level in enumerate(levels, 1)}
    if not maps and all(n_prefix for n_prefix, _ in tokens.values()):
        classes = [OnnxPart(name, "class", *grid) for name, grid in tokens.items()]
        taken |= {f"level{number}{CLASS_OUTPUT}": part for number, part in enumerate(classes, 1)}
    return taken


def _grid(n_tokens: int, size: int) -> tuple[int, int] | None:
    """Return the number of tokens before the patches, and the side of their grid; None where they are no grid."""
    side = math.isqrt(n_tokens)
    fits = side > 1 and size % side == 0 and n_tokens - side * side <= MOST_PREFIX
    return (n_tokens - side * side, side) if fits else None
