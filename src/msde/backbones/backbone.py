"""A backbone as plain data: a graph, its weights, and what has to be known to use and to credit them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from msde.errors import BackboneError

Triple = tuple[float, float, float]

MOST_LEVELS = 4
OWN_LOOKS = ("plain:own",)  # of a transformer: what it was trained to say of an image
CLASS_OUTPUT = ".cls"  # of a level: ends the name of its output

LOCAL_LICENCE = "unknown: that of the local checkpoint"


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network that turns images into embeddings, in a form that can be saved without pickle.

    The graph takes ``pixels``, float32 (n, 3, input_size, input_size), RGB in [0, 1]; it normalises
    them itself, with the weights ``pixel_mean`` and ``pixel_std``. It gives ``embedding``, float32
    (n, dim), and the feature maps named in `levels`, float32 (n, channels, height, width). Those of a
    network with a class token may each have the output ``LEVEL.cls`` beside them, float32 (n, channels).

    Parameters
    ----------
    name : str
        The name it was loaded by, such as ``efficientnet_lite0``.
    input_size : int
        Side length of the input in pixels.
    mean, std : tuple of three float
        The normalisation inside the graph, for RGB pixels in [0, 1]; for information.
    levels : tuple of str
        Outputs of the graph that are feature maps, finest first; may be empty.
    dim : int
        Length of an embedding.
    licence : str
        Licence of the weights.
    source : str
        What the weights came from.
    graph : bytes
        The ONNX model, whose initialisers of `weights` are declared without values.
    weights : dict of str to ndarray
        The values of those initialisers by name.
    looks : tuple of str, optional
        The looks that this network is best used with, such as ``plain:own``; by default those of all networks.
    """

    name: str
    input_size: int
    mean: Triple
    std: Triple
    levels: tuple[str, ...]
    dim: int
    licence: str
    source: str
    graph: bytes
    weights: dict[str, np.ndarray]
    looks: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of graph and weights, in hexadecimal.

        Hashed are the length of the graph (8 bytes, little-endian) and the graph, then for each
        weight, sorted by name, the UTF-8 line ``name dtype shape``, such as ``conv.weight <f4 32,3,3,3``,
        a line feed, and the elements in C order, little-endian.
        """
        digest = hashlib.sha256(len(self.graph).to_bytes(8, "little") + self.graph)
        for name, values in sorted(self.weights.items()):
            values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
            digest.update(f"{name} {values.dtype.str} {','.join(map(str, values.shape))}\n".encode())
            digest.update(values.data)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return everything but graph and weights, ready for JSON, with `sha256`.

        Returns
        -------
        dict
            With :meth:`from_description`, graph and weights it gives the same backbone again.
        """
        return {
            "name": self.name,
            "input_size": self.input_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "levels": list(self.levels),
            "dim": self.dim,
            "licence": self.licence,
            "source": self.source,
            "looks": list(self.looks),
            "sha256": self.sha256,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any], graph: bytes, weights: dict[str, np.ndarray]) -> Backbone:
        """Rebuild a backbone from what :meth:`describe` returned, its graph and its weights.

        Raises
        ------
        BackboneError
            If the description is incomplete, or graph or weights are not the ones described.
        """
        try:
            backbone = cls(
                name=str(description["name"]),
                input_size=int(description["input_size"]),
                mean=triple(description["mean"]),
                std=triple(description["std"]),
                levels=tuple(map(str, description["levels"])),
                dim=int(description["dim"]),
                licence=str(description["licence"]),
                source=str(description["source"]),
                graph=graph,
                weights=weights,
                looks=tuple(map(str, description.get("looks", ()))),
            )
            expected = description["sha256"]
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise BackboneError(f"invalid description of a backbone ({error!r}); save the model again") from error
        if backbone.sha256 != expected:
            raise BackboneError(f"backbone {backbone.name}: graph or weights were altered; save the model again")
        return backbone


def triple(values: Any) -> Triple:
    """Convert three numbers, one a colour channel."""
    red, green, blue = map(float, values)
    return red, green, blue


def per_channel(values: Triple) -> np.ndarray:
    """Shape one number a colour channel for broadcasting over (n, 3, height, width), as float32."""
    return np.array(values, np.float32).reshape(1, 3, 1, 1)
