"""Lookup tables of DICOM: of a modality, of values of interest, and the three of a palette."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.images.files import FaultError
from msde.images.header import numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_COLOURS = ("Red", "Green", "Blue")
_TYPES = (None, "OW", "OB", "UN", "US", "SS", "US or SS", "US or OW", "US or SS or OW")
_PALETTE = "{}PaletteColorLookupTable{}"


@dataclass(frozen=True)
class Table:
    """What values become.

    Parameters
    ----------
    first : int
        The value that the first entry is for; values below have it too, and those beyond the last entry have the last.
    entries : ndarray of shape (n,) or (n, 3)
        Of a palette RGB.
    white : float
        The highest value that the entries can have.
    """

    first: int
    entries: NDArray[Any]
    white: float

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Look values up."""
        if values.dtype.kind == "f":
            values = np.rint(np.clip(values, self.first, self.first + len(self.entries)))
        return self.entries[np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)]


def table(item: Dataset, lowest: float) -> Table:
    """Read the table of an item of a sequence.

    Parameters
    ----------
    item : pydicom.Dataset
        Of a modality or VOI LUT sequence.
    lowest : float
        The lowest value that may be looked up; where it is negative, the first value is a signed number.

    Raises
    ------
    FaultError
        It lacks entries, or its description does not fit them.
    """
    first, entries, bits = _stored(item, "LUTDescriptor", "LUTData", lowest)
    highest = int(entries.max())
    # A depth of 16 is often that of an entry, not of what it holds, and any depth may be understated.
    white = highest if bits >= 16 or highest >= 2**bits else 2**bits - 1
    return Table(first, entries, float(max(white, 1)))


def palette(header: Dataset, lowest: float) -> Table:
    """Read the palette of a header, as `table` does."""
    if "SegmentedRedPaletteColorLookupTableData" in header and "RedPaletteColorLookupTableData" not in header:
        return _segmented(header, lowest)
    tables = [_stored(header, _PALETTE.format(c, "Descriptor"), _PALETTE.format(c, "Data"), lowest) for c in _COLOURS]
    if len({(first, len(entries)) for first, entries, _ in tables}) > 1:
        raise FaultError("the tables of its palette differ in length")
    return _coloured(tables[0][0], np.stack([entries for _, entries, _ in tables], axis=-1))


def _coloured(first: int, entries: NDArray[Any]) -> Table:
    """Make a palette, whose highest entry need not be white: it tells the depth, which is often overstated."""
    return Table(first, entries, float(2 ** max(int(entries.max()).bit_length(), 8) - 1))


def _stored(item: Dataset, descriptor: str, data: str, lowest: float) -> tuple[int, NDArray[Any], int]:
    """Read the first value of a table, its entries and its stated depth."""
    n, first, bits = _described(item, descriptor, lowest)
    entries = _entries(item, data, n)
    if len(entries) < n:
        raise FaultError(f"its {data} has fewer entries than it states")
    return first, entries[:n], bits


def _described(item: Dataset, descriptor: str, lowest: float) -> tuple[int, int, int]:
    """Read the number of entries, the first value and the depth, the first two with the right sign."""
    stated = [one for one in numbers(item, descriptor) if one is not None]
    if len(stated) != 3:
        raise FaultError(f"its {descriptor} is not three numbers")
    n, first, bits = (int(one) for one in stated)
    if lowest < 0 and first > 32767:
        first -= 65536
    if not 0 < bits <= 16:
        raise FaultError(f"its {descriptor} states no possible depth")
    return n % 65536 or 65536, first, bits


def _entries(item: Dataset, data: str, n: int) -> NDArray[Any]:
    """Read entries of 8 or 16 bits; those of 8 may be packed in pairs into what looks like 16."""
    element = item.get_item(data) if data in item else None
    value = None if element is None else element.value
    if element is None or value is None or len(value) == 0:
        raise FaultError(f"its {data} is missing")
    if element.VR not in _TYPES:
        raise FaultError(f"its {data} is of no numbers")
    if isinstance(value, bytes):
        order = "<" if getattr(element, "is_little_endian", True) else ">"
        packed = len(value) in (n, n + n % 2)
        words = np.frombuffer(value, order + "u2") if len(value) % 2 == 0 else None
    else:
        found = [one for one in numbers(item, data) if one is not None]
        words = np.array(found).astype("<u2")
        packed = len(words) == (n + 1) // 2 < n
        value = words.tobytes()
    if packed and words is not None:
        return np.frombuffer(words.astype("<u2").tobytes(), np.uint8)
    if packed:
        return np.frombuffer(value, np.uint8)
    if words is None:
        raise FaultError(f"its {data} is cut off")
    return words.astype(np.uint16)


def _segmented(header: Dataset, lowest: float) -> Table:
    from pydicom.pixels.processing import apply_color_lut

    descriptor = _PALETTE.format("Red", "Descriptor")
    n, first, _ = _described(header, descriptor, lowest)
    stated = int(numbers(header, descriptor)[1] or 0)
    return _coloured(first, apply_color_lut(np.arange(stated, stated + n), header))
