"""Numbers of a DICOM header, read from what stands in the file, whatever type its writer gave them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from msde.images.files import FaultError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_FILLING = " \0\t\r\n"
_BINARY = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "UV": "u8", "SV": "i8", "FL": "f4", "FD": "f8", "OW": "u2"}


def numbers(header: Dataset, keyword: str) -> list[float | None]:
    """Read the numbers of an attribute.

    Parameters
    ----------
    header : pydicom.Dataset
        With the attribute as it was read, or as it was set.
    keyword : str
        Of an attribute whose values are numbers, in binary or in digits. Text may have any type of text, and a decimal
        comma.

    Returns
    -------
    list of float or None
        None in place of a value that is blank; an empty list where the attribute is missing or has no value.

    Raises
    ------
    FaultError
        A value is no finite number.
    """
    if keyword not in header:
        return []
    element = header.get_item(keyword)
    try:
        found = _read(element, keyword)
        if all(one is None or np.isfinite(one) for one in found):
            return found
    except (TypeError, ValueError, AttributeError):
        pass
    raise FaultError(f"its {keyword} is no number")


def number(header: Dataset, keyword: str) -> float | None:
    """Read the first number of an attribute; None where it has none."""
    return next(iter(numbers(header, keyword)), None)


def integer(header: Dataset, keyword: str, default: int) -> int:
    """Read the first number of an attribute, which must be whole.

    Raises
    ------
    FaultError
        It is no whole number.
    """
    found = number(header, keyword)
    if found is None:
        return default
    if not found.is_integer():
        raise FaultError(f"its {keyword} is no whole number")
    return int(found)


def words(header: Dataset, keyword: str) -> str:
    """Read an attribute of one term, such as MONOCHROME2; empty where it is missing."""
    value = header.get_item(keyword).value if keyword in header else ""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.split("\\")[0].strip(_FILLING).upper()


def _read(element: Any, keyword: str) -> list[float | None]:
    value = element.value
    if isinstance(value, bytes):
        kind = _BINARY.get(_type_of(element, keyword))
        if kind:
            order = "<" if getattr(element, "is_little_endian", True) else ">"
            return [float(one) for one in np.frombuffer(value, order + kind)]
        value = value.decode("ascii")
    if isinstance(value, str):
        return [_of_text(part) for part in value.split("\\")] if value.strip(_FILLING) else []
    if value is None:
        return []
    parts = [value] if isinstance(value, int | float) or not hasattr(value, "__iter__") else value
    return [_of_text(part) if isinstance(part, str) else float(part) for part in parts]


def _type_of(element: Any, keyword: str) -> str:
    """Return the type in which a value is stored: the file's own, or the standard's where it states none."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    stated = element.VR
    if stated in (None, "UN", "OB"):
        stated = dictionary_VR(tag_for_keyword(keyword) or 0)
    return str(stated)[:2]  # "US or SS" is read as unsigned, which the reader of the value puts right


def _of_text(part: str) -> float | None:
    part = part.strip(_FILLING)
    if part and not _NUMBER.fullmatch(part):
        raise ValueError(part)
    return float(part.replace(",", ".")) if part else None
