"""Lengths and units in a DICOM header. What is malformed or contradicts itself is as if it were not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msde.images.files import FaultError
from msde.images.header import numbers, words

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CENTIMETRES = 3  # PhysicalUnitsXDirection of ultrasound
_TWO_DIMENSIONAL = 1  # RegionSpatialFormat
_UNITS = {"HU": "HU", "OD": "OD", "BQML": "Bq/ml", "GML": "g/ml", "CNTS": "counts", "PROPCNTS": "counts"}


def spacing(module: Dataset, keyword: str) -> tuple[float, float] | None:
    """Read a distance of rows and one of columns, both above 0."""
    found = _numbers(module, keyword)
    if len(found) != 2 or not min(found) > 0:
        return None
    return found[0], found[1]


def spacing_of_ultrasound(header: Dataset) -> tuple[float, float] | None:
    """Read the distances that all two-dimensional regions of an ultrasound image agree on."""
    found = set()
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        if _numbers(region, "RegionSpatialFormat") != [_TWO_DIMENSIONAL]:
            continue
        units = [_numbers(region, f"PhysicalUnits{axis}Direction") for axis in "YX"]
        steps = [_numbers(region, f"PhysicalDelta{axis}") for axis in "YX"]
        if units != [[_CENTIMETRES]] * 2 or [len(step) for step in steps] != [1, 1]:
            return None
        rows, columns = (10 * abs(step[0]) for step in steps)
        found.add((rows, columns))
    only = found.pop() if len(found) == 1 else None
    return only if only and min(only) > 0 else None


def unit_of(header: Dataset, transformed: Dataset) -> str:
    """Name the unit of values after the modality LUT; CT that states a rescaling is in Hounsfield units."""
    stated = words(transformed, "RescaleType") or words(header, "Units")
    if not stated and words(header, "Modality") == "CT" and _numbers(transformed, "RescaleIntercept"):
        return "HU"
    return _UNITS.get(stated, "")


def stated_windows(module: Dataset) -> tuple[tuple[float, float], ...]:
    """Read the linear windows that a file states, as the lowest and the highest value."""
    if words(module, "VOILUTFunction") == "SIGMOID":
        return ()
    pairs = zip(_numbers(module, "WindowCenter"), _numbers(module, "WindowWidth"), strict=False)
    return tuple((centre - width / 2, centre + width / 2) for centre, width in pairs if width >= 1)


def _numbers(module: Dataset, keyword: str) -> list[float]:
    try:
        found = numbers(module, keyword)
    except FaultError:
        return []
    return [value for value in found if value is not None] if None not in found else []
