"""The kinds of objects, made of a source and a result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydicom import Dataset

from msde.dicom import Result, parametric_map, secondary_capture, structured_report


def heat_map_of(source: Dataset) -> np.ndarray:
    return np.linspace(0, 1, source.Rows * source.Columns).reshape(source.Rows, source.Columns)


def overlay_of(source: Dataset) -> np.ndarray:
    return np.repeat((heat_map_of(source)[:, :, None] * 255).astype(np.uint8), 3, axis=2)


KINDS: dict[str, Callable[[Dataset, Result], Dataset]] = {
    "secondary capture": lambda source, result: secondary_capture(source, result, overlay_of(source)),
    "parametric map": lambda source, result: parametric_map(source, result, heat_map_of(source)),
    "structured report": lambda source, result: structured_report([source], result),
    "patient report": lambda source, result: structured_report([source], result, of_patient=True),
}
