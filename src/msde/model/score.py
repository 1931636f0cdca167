"""What a model says of an image or a volume."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Embedded
from msde.images import Part
from msde.method.false_discoveries import discoveries
from msde.method.scorers import batch_probability

if TYPE_CHECKING:
    from msde.embedding.embed import ImageSource

COLUMNS = ("path", "anomaly_score", "p_value", "flagged", "error")
"""Of a table of scores."""
DISCOVERY = "discovery"
"""Column of a table of scores, where false discoveries are limited."""
EVIDENCE = "evidence"
"""Column of a table of scores, where the model learnt from labelled abnormal images."""


@dataclass(frozen=True)
class ImageScore:
    """What a model says of one image, or of a volume, stack or slide by its parts.

    Parameters
    ----------
    path : str
        Path of the image, or its number where it has none.
    anomaly_score : float
        The higher the more abnormal; at least 0 but in adaptive mode and after labels. NaN where the image could not be
        used. Of a volume :func:`msde.method.volume_score.volume_score` of its parts.
    p_value : float
        How often a normal scores at least as high, in [1 / (n + 1), 1]; NaN likewise, in transductive mode, and of a
        volume where the model is not calibrated on volumes.
    flagged : bool or None
        Whether the p-value is at most the target false-alarm rate; None likewise.
    error : str or None
        Why the image could not be used.
    source : path, Part, Pillow image, array or None
        What it is read from; None for a volume. An image in memory is kept with its heat only.
    volume : str or None
        Name of the volume that the image is a part of.
    parts : tuple of ImageScore
        Of a volume, without heat; empty for an image.
    digest : bytes
        Of the pixels, see :class:`msde.embedding.embed.Embedded`.
    shape : tuple of int
        Height and width in pixels.
    heat : ndarray of shape (56 * 56,), float32, or None
        Where it differs from the normals, if that was asked for.
    discovery : bool or None
        Whether it is one of the discoveries among many, if that was asked for; see
        :func:`msde.method.false_discoveries.discoveries`.
    evidence : str or None
        What speaks for its being abnormal, in words, where the model learnt from labelled abnormal images; see
        :mod:`msde.model.labels`. Of a volume that of its highest part.
    """

    path: str
    anomaly_score: float
    p_value: float
    flagged: bool | None
    error: str | None
    source: ImageSource | None = field(default=None, repr=False, compare=False)
    volume: str | None = field(default=None, repr=False)
    parts: tuple[ImageScore, ...] = field(default=(), repr=False)
    digest: bytes = field(default=b"", repr=False)
    shape: tuple[int, int] = field(default=(0, 0), repr=False)
    heat: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    discovery: bool | None = field(default=None, repr=False)
    evidence: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, image: Embedded, anomaly_score: float) -> ImageScore:
        """Return the score of an image after embedding, without p-value and flag."""
        return cls(
            image.name,
            anomaly_score,
            math.nan,
            None,
            None,
            source=image.source,
            volume=image.volume,
            digest=image.digest,
            shape=image.shape,
            heat=image.maps,
        )

    @property
    def is_volume(self) -> bool:
        """Whether this is a volume, stack or slide."""
        return bool(self.parts)

    @property
    def sources(self) -> tuple[Path | Part, ...]:
        """The file or part that it is read from, or those of its parts; none for an image in memory."""
        if self.parts:
            return tuple(source for part in self.parts for source in part.sources)
        if isinstance(self.source, str | os.PathLike):
            return (self.source if isinstance(self.source, Part) else Path(self.source),)
        return ()

    def row(self, columns: Sequence[str] = COLUMNS) -> dict[str, Any]:
        """Return the columns for a table; what is missing is None."""
        return table_row(self, columns)

    def without_heat(self) -> ImageScore:
        """Return what may be kept of very many images: without heat and images in memory."""
        if self.heat is None:
            return self
        in_memory = not isinstance(self.source, str | os.PathLike)
        return replace(self, heat=None, source=None if in_memory else self.source)

    def unusable(self, error: str) -> ImageScore:
        """Return the score of an image that cannot be used after all."""
        return replace(
            self, anomaly_score=math.nan, p_value=math.nan, flagged=None, error=error, heat=None, evidence=None
        )

    def _repr_html_(self) -> str:
        """Draw it for a notebook."""
        from msde.model.notebook import score_html

        return score_html(self)


def table_row(score: Any, columns: Sequence[str]) -> dict[str, Any]:
    """Return attributes of a score by name for a table; what is missing is None."""
    values = {name: getattr(score, name) for name in columns}
    return {name: None if value != value else value for name, value in values.items()}


def with_discoveries(scores: Sequence[ImageScore], rate: float) -> list[ImageScore]:
    """Tell which scores are discoveries, images among images and volumes among volumes.

    Parameters
    ----------
    scores : sequence of ImageScore
    rate : float
        Expected share of normals among the discoveries, at most; in (0, 1).

    Returns
    -------
    list of ImageScore
        In their order; None for a score without a p-value.
    """
    p_values = np.array([score.p_value for score in scores], dtype=np.float64)
    volumes = np.array([score.is_volume for score in scores], dtype=bool)
    chosen = np.zeros(len(scores), dtype=bool)
    for kind in (volumes, ~volumes):
        chosen[kind] = discoveries(p_values[kind], rate)
    return [
        replace(score, discovery=None if math.isnan(score.p_value) else bool(found))
        for score, found in zip(scores, chosen, strict=True)
    ]


def batch_probabilities(scores: Sequence[ImageScore]) -> list[ImageScore]:
    """Put the published output, :func:`msde.method.scorers.batch_probability`, in the place of a batch's scores.

    Parameters
    ----------
    scores : sequence of ImageScore
        All scores of one batch. Volumes, and images that could not be used, are left as they are.

    Returns
    -------
    list of ImageScore
        In their order.
    """
    batch = [number for number, score in enumerate(scores) if score.error is None and not score.is_volume]
    changed = list(scores)
    if batch:
        values = batch_probability(np.array([scores[number].anomaly_score for number in batch]))
        for number, value in zip(batch, values, strict=True):
            changed[number] = replace(scores[number], anomaly_score=float(value))
    return changed
