"""What a model says of an image or a volume, from embeddings to scores with p-values."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Embedded
from msde.method.calibration import Calibration
from msde.method.scorers import Scorer, batch_probability
from msde.method.volume_score import volume_score


@dataclass(frozen=True)
class ImageScore:
    """What a model says of one image.

    Parameters
    ----------
    path : str
        Path of the image, or its number where it has none.
    anomaly_score : float
        The higher the more abnormal; at least 0 but in adaptive mode. NaN where the image could not be used.
    p_value : float
        How often a normal scores at least as high, in [1 / (n + 1), 1]; NaN likewise, and in transductive mode.
    flagged : bool or None
        Whether the p-value is at most the target false-alarm rate; None likewise.
    error : str or None
        Why the image could not be used.
    """

    path: str
    anomaly_score: float
    p_value: float
    flagged: bool | None
    error: str | None


class VolumeScore(ImageScore):
    """What a model says of a volume, stack or slide, by :func:`msde.method.volume_score.volume_score` of its parts.

    Its p-value is NaN where the model is not calibrated on volumes.
    """


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
        volumes: deque[str | None] = deque()
        volume: str | None = None
        parts: list[ImageScore] = []
        for row in self.score(_noting(embedded, volumes)):
            if parts and volumes[0] != volume:
                yield self._summed_up(volume, parts)
                parts = []
            volume = volumes.popleft()
            if volume is not None:
                parts.append(row)
            yield row
        if parts:
            yield self._summed_up(volume, parts)

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
            if error is not None:
                yield ImageScore(image.name, float("nan"), float("nan"), None, error)
            elif self.scorer.batchwise:
                yield ImageScore(image.name, float(score), float("nan"), None, None)
            else:
                yield ImageScore(image.name, float(score), float(p_value), bool(flag), None)

    def _summed_up(self, volume: str | None, parts: Sequence[ImageScore]) -> VolumeScore:
        """Score a volume by its parts."""
        name, n_bad = str(volume), sum(part.error is not None for part in parts)
        if n_bad:
            error = f"{name}: {n_bad} of its {len(parts)} parts cannot be used, so it has no score; see their lines"
            return VolumeScore(name, float("nan"), float("nan"), None, error)
        score = np.array([volume_score(np.array([part.anomaly_score for part in parts]))])
        if self.volumes is None or self.scorer.batchwise:
            return VolumeScore(name, float(score[0]), float("nan"), None, None)
        p_value, flagged = self.volumes.p_values(score), self.volumes.flagged(score)
        return VolumeScore(name, float(score[0]), float(p_value[0]), bool(flagged[0]), None)


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
    batch = [number for number, one in enumerate(scores) if one.error is None and not isinstance(one, VolumeScore)]
    changed = list(scores)
    if batch:
        values = batch_probability(np.array([scores[number].anomaly_score for number in batch]))
        for number, value in zip(batch, values, strict=True):
            changed[number] = replace(scores[number], anomaly_score=float(value))
    return changed


def _noting(embedded: Iterable[Embedded], volumes: deque[str | None]) -> Iterator[Embedded]:
    """Pass images on and note the volume of each."""
    for image in embedded:
        volumes.append(image.volume)
        yield image
