"""Windows to choose from: those that readers of CT are used to, the file's own, and some by the picture's values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from msde.images.measures import Measures
from msde.serve.pictures import Shades


class Window(NamedTuple):
    """Values that become black and white, by a name."""

    name: str
    low: float
    high: float


# Level and width in Hounsfield units, as radiologists teach them.
_OF_CT = {
    "Brain": (40, 80),
    "Subdural": (75, 215),
    "Stroke": (40, 40),
    "Soft tissue": (50, 400),
    "Mediastinum": (50, 350),
    "Liver": (30, 150),
    "Lung": (-600, 1500),
    "Bone": (400, 1800),
}
_AIR, _BONE = -900, 300  # values that a picture of no stated modality has to go beyond to be offered the windows of CT
_NEAR = 1.0  # DICOM's linear window ends half a value within what its centre and width say
_MIDDLE = (2, 98)  # percentiles
_MOST = 2**18  # values that these are taken of


def windows_of(shades: Shades, measures: Measures) -> tuple[Window, ...]:
    """List the windows to choose from; the first is that in which the model sees the picture, as its file names it."""
    ends = np.array(shades.window)
    of_file = [np.array(stated) for stated in measures.windows]
    near = [bool(np.abs(stated - ends).max() <= _NEAR) for stated in of_file]
    first = of_file[near.index(True)] if any(near) else ends
    found = [Window("File's window" if any(near) else "Model's window", *map(float, first))]
    others = [stated for stated, is_first in zip(of_file, near, strict=True) if not is_first]
    found += [Window(f"File's window {n}", *map(float, stated)) for n, stated in enumerate(others, 1 + any(near))]
    if measures.unit == "HU" or (not measures.modality and shades.low < _AIR and shades.high > _BONE):
        found += [Window(f"CT {name.lower()}", at - wide / 2, at + wide / 2) for name, (at, wide) in _OF_CT.items()]
    step = max(1, int(np.sqrt(shades.values.size / _MOST)))
    low, high = (float(end) for end in np.percentile(shades.values[::step, ::step], _MIDDLE))
    found += [Window("Middle 96 %", low, high), Window("All values", shades.low, shades.high)]
    shown: dict[tuple[float, float], Window] = {}
    for window in found:
        if window.low < window.high:
            shown.setdefault((window.low, window.high), window)
    return tuple(shown.values())
