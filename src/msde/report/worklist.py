"""Scored images in the order in which to look at them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Embedded, Tick, ticking
from msde.images import Part, expanded
from msde.method.drift import Drift
from msde.model.anomaly_model import AnomalyModel
from msde.model.nearest_normals import NearestNormals
from msde.model.score import ImageScore, VolumeScore

SLICES = 5
MOST_HEAT = 255


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, or one slice of a volume.

    Parameters
    ----------
    source : Path or Part
        Where it is read from.
    result : ImageScore
        Its own.
    alike : tuple of int
        Numbers of the normals most like it, the nearest first.
    maps : ndarray of uint8, optional
        What the model's localizer read of it in the pass that scored it, `MOST_HEAT` for 1: there may be very many.
    """

    source: Path | Part
    result: ImageScore
    alike: tuple[int, ...]
    maps: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Case:
    """One line of the worklist: an image or a volume.

    Parameters
    ----------
    result : ImageScore
        A VolumeScore for a volume.
    pictures : tuple of Picture
        What can be shown of it: the image, or the volume's highest slices, the highest first.
    unusable : tuple of ImageScore
        It, and its slices, where they could not be used.
    n_parts : int
        Slices of the volume; 1 for an image.
    seen_in_training : bool
        Whether the model was fitted on it, or on a slice of it.
    """

    result: ImageScore
    pictures: tuple[Picture, ...]
    unusable: tuple[ImageScore, ...] = ()
    n_parts: int = 1
    seen_in_training: bool = False

    @property
    def is_volume(self) -> bool:
        """Whether this is a volume, stack or slide."""
        return isinstance(self.result, VolumeScore)


@dataclass(frozen=True)
class Worklist:
    """Cases by p-value, the lowest first, and what holds for all of them.

    Parameters
    ----------
    cases : list of Case
        Those without a p-value follow by score; those without a score are last.
    drift : Drift
        Whether the images look like the normals that the model is calibrated on.
    normals : NearestNormals or None
        What the pictures are compared with.
    """

    cases: list[Case]
    drift: Drift
    normals: NearestNormals | None

    @property
    def errors(self) -> list[str]:
        """One line for each image, slice, volume or normal that could not be used."""
        errors = [result.error or "" for case in self.cases for result in case.unusable]
        return errors + (self.normals.errors if self.normals else [])


def make_worklist(
    model: AnomalyModel,
    images: Iterable[Path | Part],
    normals: NearestNormals | None = None,
    *,
    tick: Tick | None = None,
) -> Worklist:
    """Score images and put them in order.

    Parameters
    ----------
    model : AnomalyModel
        Fitted.
    images : iterable of Path and Part
        As `find_images` lists them.
    normals : NearestNormals, optional
        Normals to compare with.
    tick : callable, optional
        Called after each image.

    Returns
    -------
    Worklist
    """
    sources = list(expanded(images))
    results: list[ImageScore] = []
    pending: deque[Embedded] = deque()
    rows = model.score_with_volumes(_noting(ticking(model.embed(sources, model.localizer_), tick), pending))
    cases: list[Case] = []
    parts: list[Case] = []
    where = iter(sources)
    for result in rows:
        results.append(result)
        if isinstance(result, VolumeScore):
            cases.append(_volume(result, parts))
            parts = []
            continue
        image = pending.popleft()
        case = _image(model, next(where), result, image, normals)
        (cases if image.volume is None else parts).append(case)
    return Worklist(sorted(cases, key=_urgency), model.drift(results), normals)


def _image(
    model: AnomalyModel, source: Path | Part, result: ImageScore, image: Embedded, normals: NearestNormals | None
) -> Case:
    if result.error is not None:
        return Case(result, (), (result,))
    maps = None if image.maps is None else np.rint(MOST_HEAT * image.maps).astype(np.uint8)
    picture = Picture(source, result, normals.nearest(image) if normals else (), maps)
    return Case(result, (picture,), seen_in_training=bool(model.fingerprint_.count_known([image.digest])))


def _volume(result: VolumeScore, parts: list[Case]) -> Case:
    pictures = [picture for part in parts for picture in part.pictures]
    highest = sorted(pictures, key=lambda picture: -picture.result.anomaly_score)[:SLICES]
    of_parts = [unusable for part in parts for unusable in part.unusable]
    unusable = (result, *of_parts) if result.error is not None else ()
    return Case(result, tuple(highest), unusable, len(parts), any(part.seen_in_training for part in parts))


def _urgency(case: Case) -> tuple[bool, bool, float, float]:
    score, p_value = case.result.anomaly_score, case.result.p_value
    if math.isnan(score):
        return True, True, 0.0, 0.0
    return False, math.isnan(p_value), 0.0 if math.isnan(p_value) else p_value, -score


def _noting(embedded: Iterable[Embedded], pending: deque[Embedded]) -> Iterator[Embedded]:
    for image in embedded:
        pending.append(image)
        yield image
