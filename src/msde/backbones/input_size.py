"""Images of another size than a network's own: which it takes, and a graph for them. The latter needs onnx."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from msde.backbones.backbone import Backbone
from msde.backbones.export import require
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError

SMALLEST, LARGEST = 32, 1024


def check_range(size: int) -> None:
    """Raise BackboneError if a side in pixels is one that no network is given."""
    if not SMALLEST <= size <= LARGEST:
        raise BackboneError(f"an input of {size} px is out of range; give {SMALLEST} to {LARGEST}")


def check_patches(name: str, size: int, patch: Sequence[int]) -> None:
    """Raise BackboneError if patches, of a height and a width in pixels, do not fill images of a size."""
    step = math.lcm(*patch)
    if size % step:
        below, above = size // step * step, (size // step + 1) * step
        sides = "x".join(map(str, dict.fromkeys(patch)))
        raise BackboneError(
            f"backbone {name}: images of {size} px are no whole number of its patches of {sides} px; give an input size"
            f" of {f'{below} or {above}' if below else above}"
        )


def with_input_size(backbone: Backbone, size: int | None) -> Backbone:
    """Let a graph compute larger or smaller images, squares of 32 to 1,024 px, where it can.

    One of convolutions and a mean can. One with an embedding for each place, such as a vision transformer's, cannot:
    the network has to be loaded for the size, by :func:`msde.backbones.load_backbone`. None stands for its own size.
    Raises BackboneError if the size is out of range, onnx is not installed, or the graph is made for its own size
    alone.
    """
    if size in (None, backbone.input_size):
        return backbone
    check_range(size)
    require(f"{backbone.name} for {size} px", "onnx", "onnx")
    import onnx

    model = onnx.load_from_string(backbone.graph)
    model.graph.ClearField("value_info")  # sizes at the old input
    for value in (model.graph.input[0], *model.graph.output):
        for axis in list(value.type.tensor_type.shape.dim)[2:]:
            axis.Clear()
    for axis in list(model.graph.input[0].type.tensor_type.shape.dim)[2:]:
        axis.dim_value = size
    resized = replace(backbone, input_size=size, graph=model.SerializeToString(deterministic=True))
    _check(resized, backbone.input_size)
    return resized


def _check(backbone: Backbone, own: int) -> None:
    """Try it, because a graph may have its size in further places, and refuse one that gives something else."""
    blank = np.zeros((1, 3, backbone.input_size, backbone.input_size), np.float32)
    try:
        session = EmbeddingSession(backbone, threads=1)
        outputs = session.run(blank, ["embedding", *backbone.levels])
        sound = outputs["embedding"].shape == (1, backbone.dim) and all(
            outputs[level].ndim == 4
            and min(outputs[level].shape) > 0
            and outputs[level].shape[1] == session.channels(level)
            for level in backbone.levels
        )
    except Exception:  # the runtime's own errors have no common base but this
        sound = False
    if not sound:
        raise BackboneError(
            f"backbone {backbone.name}: its graph computes images of {own} px only; leave the input size out, or name a"
            " network of convolutions"
        )
