"""Detectors by the heat maps' patch models: an image scores as its hottest hundredth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from msde.benchmark.detectors import Lesson, Rows, Score
from msde.heatmaps.localizer import Localizer
from msde.heatmaps.patch_models import KINDS, Seen

HOTTEST = 0.01
"""Share of the area whose mean heat, not cut off at 1, is the score; both papers of tokens score so."""
_BLOCK = 64  # images scored at once


def fit_heat(lesson: Lesson, kind: str) -> Score:
    """Fit a localizer of a kind to rows of maps, whose shapes are the lesson's spans."""
    assert lesson.spans is not None  # noqa: S101 - of every row of maps
    shapes = [[tuple(shape[shape > 0].tolist()) for shape in view] for view in lesson.spans]
    names = [str(number) for number in range(len(shapes))]

    ends = np.cumsum([sum(int(np.prod(shape)) for shape in of_view) for of_view in shapes])

    def seen(rows: Rows) -> dict[str, Seen]:
        parts = np.split(rows, ends[:-1], axis=1)
        return {
            name: KINDS[kind].seen.unpacked(part, of_view)
            for name, part, of_view in zip(names, parts, shapes, strict=True)
        }

    localizer = Localizer.fit(seen(lesson.normals), lesson.patients, dict.fromkeys(names, kind))

    def block(rows: Rows) -> NDArray[np.float32]:
        heat = localizer.heat(seen(rows), cut=False).reshape(len(rows), -1)
        hottest = max(1, round(HOTTEST * heat.shape[1]))
        return np.asarray(np.partition(heat, -hottest, axis=1)[:, -hottest:].mean(axis=1))

    def score(rows: Rows) -> NDArray[np.float64]:
        parts = [block(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)]
        return np.concatenate(parts).astype(np.float64)

    return score
