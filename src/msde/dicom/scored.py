"""Scores beside the images that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from msde.images import Part, expanded
from msde.model.score import ImageScore, VolumeScore


@dataclass(frozen=True)
class Scored:
    """A score and what it is of.

    Parameters
    ----------
    score : ImageScore
        A VolumeScore for a volume.
    sources : tuple of Path and Part
        The image, or the volume's parts.
    parts : tuple of ImageScore
        The scores of the volume's parts; empty for an image.
    """

    score: ImageScore
    sources: tuple[Path | Part, ...]
    parts: tuple[ImageScore, ...] = ()


def beside_sources(scores: Iterable[ImageScore], images: Iterable[Path | Part]) -> Iterator[Scored]:
    """Put scores beside their images.

    Parameters
    ----------
    scores : iterable of ImageScore
        What `AnomalyModel.score_iter` gives of the images.
    images : iterable of Path and Part
        As `find_images` lists them.

    Yields
    ------
    Scored
        One a score, in their order.
    """
    sources = expanded(images)
    parts: list[Scored] = []
    for score in scores:
        if isinstance(score, VolumeScore):
            yield Scored(
                score, tuple(source for part in parts for source in part.sources), tuple(part.score for part in parts)
            )
            parts = []
            continue
        scored = Scored(score, (next(sources),))
        if isinstance(scored.sources[0], Part):
            parts.append(scored)
        yield scored
