"""One image of a data set measured: its kind, size, trivial statistics and what finds its like."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msde.datasets.dataset import Item
from msde.datasets.near_duplicates import Likeness, likeness
from msde.datasets.picture import Picture
from msde.datasets.statistic import STATISTICS
from msde.errors import ImageError
from msde.images import ImageRule, Part
from msde.images.files import decode_file
from msde.images.intensity import array_samples, to_pixels
from msde.images.samples import Samples
from msde.method.parallel import available_cores

MAX_SIDE = 1024
"""Statistics of a larger picture are those of every second, third ... row and column."""
_RULE = ImageRule()
_CHANNELS = {1: "gray", 2: "gray with alpha", 3: "colour", 4: "colour with alpha"}


@dataclass(frozen=True)
class ImageFacts:
    """What an image is, without what it shows."""

    width: int  # in pixels
    height: int  # in pixels
    kind: str  # type of file and samples, such as ".jpg, 8-bit gray"
    n_bytes: int | None  # size of the file; None for a part of a file
    statistics: tuple[float, ...]  # in the order of STATISTICS
    likeness: Likeness


def measure(items: Iterable[Item]) -> Iterator[ImageFacts | ImageError]:
    """Measure images on all processors, in order; an unreadable one gives its error."""
    with ThreadPoolExecutor(available_cores(), thread_name_prefix="msde-check") as pool:
        yield from pool.map(_measure, items)


def digest_of(samples: NDArray[np.generic]) -> bytes:
    """Return the SHA-256 of decoded samples, their shape and type: the same whatever file holds them."""
    values = np.ascontiguousarray(samples)
    return hashlib.sha256(f"{values.shape} {values.dtype.str}".encode() + values.tobytes()).digest()


def _measure(item: Item) -> ImageFacts | ImageError:
    try:
        samples = _samples(item)
        pixels = to_pixels(samples, _RULE, str(item))
    except ImageError as error:
        return error
    gray = _gray(pixels)
    height, width = gray.shape
    step = -(-max(height, width) // MAX_SIDE)
    thinned = gray[::step, ::step] if min(height, width) >= 3 * step else gray
    return ImageFacts(
        width,
        height,
        f"{_suffix(item)}, {_words(samples.values)}",
        os.path.getsize(item) if isinstance(item, Path) else None,
        tuple(statistic(thinned) for statistic in STATISTICS.values()),
        likeness(gray, digest_of(samples.values)),
    )


def _samples(item: Item) -> Samples:
    match item:
        case Picture():
            return array_samples(np.asarray(item), str(item))
        case Part():
            return decode_file(item.path, str(item), item.label)
        case _:
            return decode_file(item, str(item))


def _gray(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels.mean(axis=2))


def _suffix(item: Item) -> str:
    path = str(item).split("#")[0] if isinstance(item, Picture) else item.path if isinstance(item, Part) else item
    return Path(path).suffix.lower() or "no suffix"


def _words(values: NDArray[np.generic]) -> str:
    channels = 1 if values.ndim == 2 else values.shape[2]
    words = _CHANNELS[channels]
    if channels == 3 and (values[..., :1] == values[..., 1:]).all():
        words = "gray stored as colour"
    return f"{8 * values.dtype.itemsize if values.dtype.kind != 'b' else 1}-bit {words}"
