"""A backbone whose weights are stored in half precision. Needs onnx; the backbone that comes out does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from msde.backbones.backbone import Backbone
from msde.backbones.export import require
from msde.backbones.graph import with_steps
from msde.backbones.parity import HALF_PARITY, check_parity, noise
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError

LARGE = 100_000_000
"""Bytes of weights from which on `msde fit` stores a network so."""

_FEWEST = 1024  # of a weight; vectors of scales and offsets take little room, and may be tiny numbers
_LARGEST = float(np.finfo(np.float16).max)


def megabytes(backbone: Backbone) -> float:
    """Return the size of a backbone's weights in MB."""
    return sum(values.nbytes for values in backbone.weights.values()) / 1e6


def with_half_weights(backbone: Backbone) -> Backbone:
    """Store matrices and kernels as float16, 11 significant bits, in half the space.

    The network still computes in float32: its graph converts the weights once, when a session begins. So the speed is
    that of the original, and a row's embedding does not depend on its batch.

    Vectors, and weights of other types than float32 or beyond the range of float16, stay as they are. The name ends in
    " half".

    Raises BackboneError if onnx is not installed, no weight is such a one, or the embeddings of pictures of noise
    differ by more than 0.5 % of the largest number.
    """
    require(f"{backbone.name} half", "onnx", "onnx")
    from onnx import TensorProto, helper

    chosen = [name for name, values in backbone.weights.items() if _is_worth_it(values)]
    if not chosen:
        raise BackboneError(f"backbone {backbone.name}: has no float32 weights that halves could hold; leave half out")
    stored = {name: {f"{name}.half": backbone.weights[name].astype(np.float16)} for name in chosen}
    steps = [helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT) for name in chosen]
    halved = replace(with_steps(backbone, stored, steps), name=f"{backbone.name} half")
    pixels = noise(backbone.input_size)
    check_parity(halved, pixels, EmbeddingSession(backbone).run(pixels, ["embedding"]), HALF_PARITY)
    return halved


def _is_worth_it(values: np.ndarray) -> bool:
    if values.dtype != np.float32 or values.ndim < 2 or values.size < _FEWEST:
        return False
    return bool(np.abs(values).max() <= _LARGEST)  # false where one is not finite
