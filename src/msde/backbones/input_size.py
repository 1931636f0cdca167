"""A backbone for images of another size. Needs onnx; the backbone that comes out does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from msde.backbones.backbone import Backbone
from msde.backbones.export import require
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError

SMALLEST, LARGEST = 32, 1024


def with_input_size(backbone: Backbone, size: int) -> Backbone:
    """Let a network look at larger or smaller images, squares of 32 to 1,024 px, where its graph computes them.

    Networks of convolutions and a mean do. Those with an embedding for each place, such as vision transformers, do not.
    Raises BackboneError if the size is out of range, onnx is not installed, or the graph is made for its own size
    alone.
    """
    if not SMALLEST <= size <= LARGEST:
        raise BackboneError(f"an input of {size} px is out of range; give {SMALLEST} to {LARGEST}")
    if size == backbone.input_size:
        return backbone
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
        outputs = EmbeddingSession(backbone, threads=1).run(blank, ["embedding", *backbone.levels])
        sound = outputs["embedding"].shape == (1, backbone.dim) and all(
            outputs[level].ndim == 4 and min(outputs[level].shape) > 0 for level in backbone.levels
        )
    except Exception:  # the runtime's own errors have no common base but this
        sound = False
    if not sound:
        raise BackboneError(
            f"backbone {backbone.name}: its graph computes images of {own} px only; leave the input size out, or name a"
            " network of convolutions"
        )
