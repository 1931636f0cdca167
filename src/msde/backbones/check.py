"""What a backbone gives, and how fast: what `msde backbones check` tells."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from msde.backbones.parity import noise
from msde.backbones.registry import load_backbone
from msde.backbones.session import EmbeddingSession

_SECONDS = 2.0


@dataclass(frozen=True)
class Inspection:
    """A backbone that was loaded and run.

    Parameters
    ----------
    name, source, licence : str
        As of :class:`msde.backbones.Backbone`.
    input_size : int
        Side of its images in pixels.
    dim : int
        Length of its own embedding.
    levels : list of str
        Its feature maps, each with channels, height and width, such as ``level1 24 x 56 x 56``.
    looks : list of str
        Its default looks, where they are others than those of all networks.
    megabytes : float
        Size of its weights.
    images_per_second : float
        On this processor, one pass an image, a picture of noise each time, reading not counted.
    """

    name: str
    source: str
    licence: str
    input_size: int
    dim: int
    levels: list[str]
    looks: list[str]
    megabytes: float
    images_per_second: float


def inspect(name: str, checkpoint: str | Path | None = None, input_size: int | None = None) -> Inspection:
    """Load a backbone, which verifies tensors and agreement with the original network, and run it for two seconds.

    Parameters
    ----------
    name, checkpoint, input_size
        As of :func:`msde.backbones.load_backbone`.

    Returns
    -------
    Inspection

    Raises
    ------
    BackboneError
        If it cannot be had, or computes no images of this size.
    """
    backbone = load_backbone(name, checkpoint, input_size)
    session, pixels = EmbeddingSession(backbone), noise(backbone.input_size)
    maps = session.run(pixels[:1], ["embedding", *backbone.levels])
    start, n = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < _SECONDS:
        session.embed(pixels)
        n += len(pixels)
    return Inspection(
        backbone.name,
        backbone.source,
        backbone.licence,
        backbone.input_size,
        backbone.dim,
        [f"{level} {' x '.join(map(str, maps[level].shape[1:]))}" for level in backbone.levels],
        list(backbone.looks),
        round(sum(values.nbytes for values in backbone.weights.values()) / 1e6, 1),
        round(n / spent, 2),
    )
