"""Images to scores and heat maps, read ahead and drawn on all processors."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Embedded, Tick, ticking
from msde.errors import ImageError, MSDEError
from msde.heatmaps.feature_maps import SIDE
from msde.heatmaps.localizer import Localizer
from msde.images import expanded, from_input, read_pixels
from msde.method.parallel import in_order
from msde.model.anomaly_model import AnomalyModel
from msde.model.explanation import Explanation
from msde.model.score import ImageScore, VolumeScore

if TYPE_CHECKING:
    from msde.embedding.embed import ImageSource

_Shot = tuple[ImageScore, "ImageSource | None", Embedded | None]
_T = TypeVar("_T")


def explain_images(
    model: AnomalyModel, images: Iterable[ImageSource], tick: Tick | None = None
) -> Iterator[tuple[ImageScore, Explanation | None]]:
    """Score images and tell where they differ; see :meth:`msde.AnomalyModel.explain_iter`."""
    shots = _shots(model, localizer_of(model), images, tick)
    return in_order(lambda shot: _explained(model, *shot), shots)


def explain_one(model: AnomalyModel, source: ImageSource) -> Explanation:
    """Score one image and tell where it differs; see :meth:`msde.AnomalyModel.explain`."""
    localizer = localizer_of(model)
    sources = list(expanded([source]))
    if len(sources) > 1:
        raise ImageError(f"{source}: holds {len(sources)} images; explain one of them, such as {sources[0]}")
    shot = next(_shots(model, localizer, sources, None))
    score, explanation = _explained(model, *shot)
    if explanation is None:
        raise ImageError(score.error or f"{score.path}: cannot be used")
    return explanation


def localizer_of(model: AnomalyModel) -> Localizer:
    """Return the part of a model that draws heat maps.

    Raises
    ------
    MSDEError
        If it has none.
    """
    if model.localizer_ is None:
        raise MSDEError(
            "the model has no heat maps: it was fitted without them, by an older version, on fewer than 10 normals, or"
            " with a network that gives no feature maps; fit again with `msde fit`"
        )
    return model.localizer_


def _shots(
    model: AnomalyModel, localizer: Localizer, images: Iterable[ImageSource], tick: Tick | None
) -> Iterator[_Shot]:
    sources: deque[ImageSource] = deque()
    pending: deque[Embedded] = deque()
    embedded = model.embed(_noting(expanded(images), sources), localizer)
    for score in model.score_with_volumes(_noting(ticking(embedded, tick), pending)):
        if isinstance(score, VolumeScore):
            yield score, None, None
        else:
            yield score, sources.popleft(), pending.popleft()


def _explained(
    model: AnomalyModel, score: ImageScore, source: ImageSource | None, image: Embedded | None
) -> tuple[ImageScore, Explanation | None]:
    if source is None or image is None or image.maps is None or score.error is not None:
        return score, None
    try:
        pixels = read_pixels(source, model.rule)  # again, for to hold those of all that is under way takes memory
    except ImageError as error:
        nan = float("nan")
        return replace(score, anomaly_score=nan, p_value=nan, flagged=None, error=str(error)), None
    return score, drawn(model, score, image.maps, pixels)


def drawn(
    model: AnomalyModel, score: ImageScore, maps: NDArray[np.float32], pixels: NDArray[np.float32]
) -> Explanation:
    """Lay what the model's localizer read of an image, (SIDE * SIDE,), over its pixels."""
    height, width = pixels.shape[:2]
    heat = from_input(maps.reshape(SIDE, SIDE), height, width, aspect=model.rule.aspect)
    return Explanation(score, heat, pixels)


def _noting(items: Iterable[_T], noted: deque[_T]) -> Iterator[_T]:
    for item in items:
        noted.append(item)
        yield item
