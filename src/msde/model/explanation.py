"""Scores with pictures of where they come from, drawn on all processors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.heatmaps.colours import ColourScale, layer, overlaid
from msde.heatmaps.feature_maps import SIDE
from msde.images import ImageRule, from_input, read_pixels
from msde.images.squares import ROOM
from msde.method.parallel import in_order
from msde.model.score import ImageScore

T = TypeVar("T")
Explained: TypeAlias = "tuple[ImageScore, Explanation | None]"


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
    colours : ColourScale
        Where colour begins.
    """

    score: ImageScore
    heat: NDArray[np.float32]
    pixels: NDArray[np.float32]
    colours: ColourScale

    @classmethod
    def of(
        cls,
        score: ImageScore,
        heat: NDArray[np.float32],
        pixels: NDArray[np.float32],
        rule: ImageRule,
        colours: ColourScale,
    ) -> Self:
        """Lay heat as it comes with a score, (56 * 56,), over the image's pixels, read by the rule."""
        height, width = pixels.shape[:2]
        return cls(score, from_input(heat.reshape(SIDE, SIDE), height, width, aspect=rule.aspect), pixels, colours)

    @property
    def onset(self) -> float:
        """Heat above which a place of this image is coloured."""
        return self.colours.begins(self.score.p_value)

    @cached_property
    def overlay(self) -> NDArray[np.uint8]:
        """The image with its heat in colour, (h, w, 3), RGB; see :mod:`msde.heatmaps.colours`."""
        return overlaid(self.pixels, self.heat, self.onset)

    @cached_property
    def layer(self) -> NDArray[np.uint8]:
        """The heat in colour without the image, (h, w, 4), RGBA, transparent where it is calm."""
        return layer(self.heat, self.onset)

    def _repr_html_(self) -> str:
        """Draw it for a notebook."""
        from msde.model.notebook import explanation_html

        return explanation_html(self)


def explain(
    scores: Iterable[ImageScore], rule: ImageRule, colours: ColourScale, use: Callable[[Explained], T]
) -> Iterator[T]:
    """Compute where images differ, and yield what is made of that; see :meth:`msde.AnomalyModel.explain_iter`."""

    def used(score: ImageScore) -> T:
        with ROOM.admitting():  # until it is used, because an explanation is larger than its image
            return use(_explained(score, rule, colours))

    return in_order(used, scores)


def _explained(score: ImageScore, rule: ImageRule, colours: ColourScale) -> Explained:
    plain = score.without_heat()
    if score.heat is None or score.source is None:
        return plain, None
    try:
        pixels = read_pixels(score.source, rule)  # again, because those of all images under way would fill the memory
    except ImageError as error:
        return plain.unusable(str(error)), None
    return plain, Explanation.of(plain, score.heat, pixels, rule, colours)
