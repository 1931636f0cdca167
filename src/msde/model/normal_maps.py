"""Normals that heat maps are fitted on, as many as memory allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from msde.backbones.raw_maps import RawMaps
from msde.embedding.embed import Embedded
from msde.embedding.encoder import EncoderSession
from msde.heatmaps.feature_maps import Shape
from msde.heatmaps.localizer import CALM, Localizer
from msde.heatmaps.patch_models import KINDS, PLACES, Seen, default_kind
from msde.model.training_set import TrainingSet

LEAST_IMAGES = 10
MOST_IMAGES = 500
MOST_BYTES = 2**29
"""Of the maps that are kept, in half precision."""

_HALF = np.finfo(np.float16)


class NormalMaps:
    """What the networks have seen of at most 500 different normals, a `msde.embedding.embed.MapReader`.

    Of more, those with the smallest digests are kept: as good as drawn at random, but the same ones each time. So many
    that they take 0.5 GB are enough: 60 where an image has 64 x 64 tokens of 1,024 numbers.

    Parameters
    ----------
    session : EncoderSession
        Of a network with feature maps.
    patches : str, optional
        Name of the patch model for all views, see :data:`msde.heatmaps.patch_models.KINDS`; by default that which suits
        each network.
    """

    def __init__(self, session: EncoderSession, patches: str | None = None) -> None:
        self._session = session
        self.kinds = {view: patches or default_kind(backbone) for view, backbone in session.mapped_views.items()}
        kinds = sorted(set(self.kinds.values()) - {PLACES})
        self.key = " ".join(["maps", *kinds]).encode()
        self._rows: dict[bytes, NDArray[np.float16]] = {}

    @cached_property
    def _blank(self) -> dict[str, Seen]:
        """An image of nothing, which tells the shapes."""
        sizes = self._session.encoder.input_sizes
        _, viewed = self._session.embed_and_view([np.zeros((1, 3, size, size), np.float32) for size in sizes])
        return {name: KINDS[self.kinds[name]].seen.of(one) for name, one in viewed.items()}

    def shapes(self) -> dict[str, list[Shape]]:
        """Return the shapes of an image's arrays, by view."""
        return {name: seen.shapes() for name, seen in self._blank.items()}

    @cached_property
    def most(self) -> int:
        """Number of images that are kept."""
        size = self.width * np.dtype(np.float16).itemsize
        return int(np.clip(MOST_BYTES // size, LEAST_IMAGES, MOST_IMAGES))

    @cached_property
    def width(self) -> int:
        """Length of an image's row."""
        return sum(seen.packed().shape[1] for seen in self._blank.values())

    def wants(self, digest: bytes) -> bool:
        """Return whether an image would be kept."""
        return len(self._rows) < self.most or digest < max(self._rows.copy())

    def read(self, viewed: Mapping[str, RawMaps]) -> NDArray[np.float32]:
        """Put what was seen of n images in rows, (n, width)."""
        return np.hstack([KINDS[kind].seen.of(viewed[name]).packed() for name, kind in self.kinds.items()])

    def taking(self, embedded: Iterable[Embedded]) -> Iterator[Embedded]:
        """Pass images on and keep the rows of those that are wanted."""
        for image in embedded:
            if image.maps is not None and self.wants(image.digest):
                self._rows[image.digest] = np.clip(image.maps, _HALF.min, _HALF.max).astype(np.float16)
                if len(self._rows) > self.most:
                    del self._rows[max(self._rows)]
            yield replace(image, maps=None)

    def localizer(self, normals: TrainingSet, calm: float = CALM) -> Localizer | None:
        """Fit heat maps, or return None where fewer than ten images were taken.

        `normals` are the images that passed: their order and groups are those of the fit. At most a share `calm` of
        normal images is to show any colour.
        """
        if len(self._rows) < LEAST_IMAGES:
            return None
        kept = [number for number, digest in enumerate(normals.digests) if digest in self._rows]
        rows = np.empty((len(kept), self.width), np.float16)
        for row, number in zip(rows, kept, strict=True):
            row[:] = self._rows.pop(normals.digests[number])  # so that they are not held twice
        ends = np.cumsum([seen.packed().shape[1] for seen in self._blank.values()])
        parts = np.split(rows, ends[:-1], axis=1)
        seen = {
            name: KINDS[self.kinds[name]].seen.unpacked(part, shapes)
            for (name, shapes), part in zip(self.shapes().items(), parts, strict=True)
        }
        return replace(Localizer.fit(seen, normals.groups[kept], self.kinds), calm=calm)
