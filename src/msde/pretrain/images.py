"""The normals, read once: small enough for memory, with their anatomy, split into those to learn from and the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msde.errors import DataError, ImageError
from msde.images import expanded, read_pixels, to_input
from msde.method.parallel import available_cores
from msde.pretrain.anatomy import anatomy_masks

if TYPE_CHECKING:
    from msde.embedding.embed import ImageSource

WHITE = 255
FEWEST = 10
HELD_OUT = 0.2
MOST_HELD_OUT = 100


@dataclass(frozen=True, eq=False)
class PretrainImages:
    """Normal images for training."""

    pixels: NDArray[np.uint8]  # (n, 3, size, size)
    anatomy: NDArray[np.bool_]  # (n, size, size)
    learning: NDArray[np.intp]  # rows to learn from
    held_out: NDArray[np.intp]  # rows which the choice of the weights rests on
    errors: list[str]  # one line for each image that could not be used

    @property
    def sha256(self) -> str:
        """SHA-256 of the pixels, in hexadecimal."""
        return hashlib.sha256(self.pixels.data).hexdigest()

    def images(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return images, shape (len(rows), 3, size, size), in [0, 1]."""
        return self.pixels[rows].astype(np.float32) / np.float32(WHITE)


def read_normals(
    sources: Iterable[ImageSource], size: int, seed: int, tick: Callable[[], object] = lambda: None
) -> PretrainImages:
    """Read images, find their anatomy and hold a fifth of them out, drawn by the seed, at most a hundred.

    They are squeezed to squares of side `size`; `tick` is called after each. Raises DataError if fewer than ten images
    can be used.
    """

    def read(source: ImageSource) -> NDArray[np.uint8] | str:
        try:
            image = to_input(read_pixels(source), size)
        except ImageError as error:
            return str(error)
        return np.clip(image * WHITE + 0.5, 0, WHITE).astype(np.uint8)

    found = []
    with ThreadPoolExecutor(available_cores()) as pool:
        for image in pool.map(read, expanded(sources)):
            found.append(image)
            tick()
        errors = [image for image in found if isinstance(image, str)]
        pixels = [image for image in found if not isinstance(image, str)]
        if len(pixels) < FEWEST:
            unusable = f"; {errors[0]}" if errors else ""
            raise DataError(
                f"{len(pixels)} normal images that can be read are too few to train on; give {FEWEST} or more{unusable}"
            )
        anatomy = anatomy_masks(pixels, pool.map)
    order = np.random.default_rng(seed).permutation(len(pixels))
    n_held_out = min(round(HELD_OUT * len(pixels)), MOST_HELD_OUT)
    return PretrainImages(np.stack(pixels), anatomy, np.sort(order[n_held_out:]), np.sort(order[:n_held_out]), errors)
