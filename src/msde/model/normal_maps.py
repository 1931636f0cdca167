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
from msde.heatmaps.feature_maps import PackedMaps
from msde.heatmaps.localizer import CALM, Localizer
from msde.model.training_set import TrainingSet

LEAST_IMAGES = 10
MOST_IMAGES = 500

_HALF = np.finfo(np.float16)


class NormalMaps:
    """What the network has seen of at most 500 different normals, a `msde.embedding.embed.MapReader`.

    Of more, those with the smallest digests are kept: as good as drawn at random, but the same ones each time.

    Parameters
    ----------
    session : EncoderSession
        Of a network with feature maps.
    """

    key = b"maps"

    def __init__(self, session: EncoderSession) -> None:
        self._session = session
        self._rows: dict[bytes, NDArray[np.float16]] = {}

    @cached_property
    def _blank(self) -> dict[str, PackedMaps]:
        """An image of nothing, which tells the shapes."""
        sizes = self._session.encoder.input_sizes
        _, viewed = self._session.embed_and_view([np.zeros((1, 3, size, size), np.float32) for size in sizes])
        return {name: PackedMaps.of(one) for name, one in viewed.items()}

    @cached_property
    def width(self) -> int:
        """Length of an image's row."""
        return sum(seen.packed().shape[1] for seen in self._blank.values())

    def wants(self, digest: bytes) -> bool:
        """Return whether an image would be kept."""
        return len(self._rows) < MOST_IMAGES or digest < max(self._rows.copy())

    def read(self, viewed: Mapping[str, RawMaps]) -> NDArray[np.float32]:
        """Put what was seen of n images in rows, (n, width)."""
        return np.hstack([PackedMaps.of(viewed[name]).packed() for name in self._blank])

    def taking(self, embedded: Iterable[Embedded]) -> Iterator[Embedded]:
        """Pass images on and keep the rows of those that are wanted."""
        for image in embedded:
            if image.maps is not None and self.wants(image.digest):
                self._rows[image.digest] = np.clip(image.maps, _HALF.min, _HALF.max).astype(np.float16)
                if len(self._rows) > MOST_IMAGES:
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
        rows = np.stack([self._rows[normals.digests[number]] for number in kept])
        ends = np.cumsum([seen.packed().shape[1] for seen in self._blank.values()])
        parts = np.split(rows, ends[:-1], axis=1)
        blanks = self._blank.items()
        seen = {
            name: PackedMaps.unpacked(part, blank.shapes()) for (name, blank), part in zip(blanks, parts, strict=True)
        }
        return replace(Localizer.fit(seen, normals.groups[kept]), calm=calm)
