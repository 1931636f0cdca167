"""What a model says of an image or a volume, from embeddings to scores with p-values."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Embedded
from msde.images import Part
from msde.method.calibration import Calibration
from msde.method.scorers import Scorer
from msde.method.volume_score import volume_score

if TYPE_CHECKING:
    from msde.embedding.embed import ImageSource

COLUMNS = ("path", "anomaly_score", "p_value", "flagged", "error")
"""Of a table of scores."""


@dataclass(frozen=True)
class ImageScore:
    """What a model says of one image, or of a volume, stack or slide by its parts.

    Parameters
    ----------
    path : str
        Path of the image, or its number where it has none.
    anomaly_score : float
        The higher the more abnormal; at least 0 but in adaptive mode. NaN where the image could not be used. Of a
        volume :func:`msde.method.volume_score.volume_score` of its parts.
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

    def row(self) -> dict[str, Any]:
        """Return `COLUMNS` for a table; what is missing is None."""
        values = {name: getattr(self, name) for name in COLUMNS}
        return {name: None if value != value else value for name, value in values.items()}

    def without_heat(self) -> ImageScore:
        """Return what may be kept of very many images: without heat and images in memory."""
        if self.heat is None:
            return self
        in_memory = not isinstance(self.source, str | os.PathLike)
        return replace(self, heat=None, source=None if in_memory else self.source)

    def unusable(self, error: str) -> ImageScore:
        """Return the score of an image that cannot be used after all."""
        return replace(self, anomaly_score=math.nan, p_value=math.nan, flagged=None, error=error, heat=None)


@dataclass(frozen=True)
class ImageScorer:
    """Turns embedded images into scores, p-values and flags.

    Parameters
    ----------
    scorer : Scorer
        Scores embeddings.
    calibration : Calibration
        Of single images.
    volumes : Calibration or None
        Of whole volumes.
    """

    scorer: Scorer
    calibration: Calibration
    volumes: Calibration | None

    def score(self, embedded: Iterable[Embedded]) -> Iterator[ImageScore]:
        """Score images, one as soon as it comes; where a score depends on the batch, all after the last."""
        if self.scorer.batchwise:
            yield from self._results(list(embedded))
        else:
            for image in embedded:
                yield from self._results([image])

    def score_with_volumes(self, embedded: Iterable[Embedded]) -> Iterator[ImageScore]:
        """Score images, and after the parts of a volume, which follow each other, the volume."""
        parts: list[ImageScore] = []
        for score in self.score(embedded):
            if parts and score.volume != parts[0].volume:
                yield self._summed_up(parts)
                parts = []
            if score.volume is not None:
                parts.append(score.without_heat())
            yield score
        if parts:
            yield self._summed_up(parts)

    def _results(self, embedded: Sequence[Embedded]) -> Iterator[ImageScore]:
        usable = [image.embedding for image in embedded if image.embedding is not None]
        scores: NDArray[np.float64] = np.full(len(embedded), np.nan)
        if usable:
            scores[[image.embedding is not None for image in embedded]] = self.scorer.score(np.stack(usable))
        p_values, flagged = self.calibration.p_values(scores), self.calibration.flagged(scores)
        for image, score, p_value, flag in zip(embedded, scores, p_values, flagged, strict=True):
            error = image.error
            if error is None and not np.isfinite(score):
                error = f"{image.name}: has no finite score; check the image and the model"
            result = ImageScore(
                image.name,
                float(score),
                float(p_value),
                bool(flag),
                None,
                source=image.source,
                volume=image.volume,
                digest=image.digest,
                shape=image.shape,
                heat=image.maps,
            )
            if error is not None:
                yield result.unusable(error)
            else:
                yield replace(result, p_value=math.nan, flagged=None) if self.scorer.batchwise else result

    def _summed_up(self, parts: Sequence[ImageScore]) -> ImageScore:
        """Score a volume by its parts."""
        name, n_bad = str(parts[0].volume), sum(part.error is not None for part in parts)
        volume = VolumeScore(name, math.nan, math.nan, None, None, parts=tuple(parts))
        if n_bad:
            error = f"{name}: {n_bad} of its {len(parts)} parts cannot be used, so it has no score; see their lines"
            return replace(volume, error=error)
        score = volume_score(np.array([part.anomaly_score for part in parts]))
        if self.volumes is None or self.scorer.batchwise:
            return replace(volume, anomaly_score=score)
        p_value, flagged = (method(np.array([score])) for method in (self.volumes.p_values, self.volumes.flagged))
        return replace(volume, anomaly_score=score, p_value=float(p_value[0]), flagged=bool(flagged[0]))


class VolumeScore(ImageScore):
    """A volume's; `ImageScore.is_volume` tells as well."""
