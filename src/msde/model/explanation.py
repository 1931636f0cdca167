"""A score with a picture of where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.colours import layer, overlaid

if TYPE_CHECKING:
    from msde.model.score import ImageScore


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where an image differs from the normals.

    Parameters
    ----------
    score : ImageScore
        What the model says of the whole image.
    heat : ndarray of shape (h, w), float32
        At the image's own resolution, in [0, 1], on one scale for all images of a model: -log10(p) / 4, p being the
        share of the area of held-out normals that is at least as odd. 0.25 stands for one place in ten, 0.5 for one in
        a hundred, 0.75 for one in a thousand; 1, for one in ten thousand and less, is extrapolated.
    pixels : ndarray of shape (h, w) or (h, w, 3), float32
        The image as the model reads it, in [0, 1].
    """

    score: ImageScore
    heat: NDArray[np.float32]
    pixels: NDArray[np.float32]

    @cached_property
    def overlay(self) -> NDArray[np.uint8]:
        """The image with its heat in colour, (h, w, 3), RGB; see :mod:`msde.heatmaps.colours`."""
        return overlaid(self.pixels, self.heat)

    @cached_property
    def layer(self) -> NDArray[np.uint8]:
        """The heat in colour without the image, (h, w, 4), RGBA, transparent where it is calm."""
        return layer(self.heat)
