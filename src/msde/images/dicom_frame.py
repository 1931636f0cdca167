"""One frame of a DICOM file: the stored numbers, or colours as RGB, native or compressed."""

from __future__ import annotations

import io
import os
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.compressed import decoded, unpacked
from msde.images.files import FaultError, missing
from msde.images.fragments import frames_of, read
from msde.images.header import integer, number, words
from msde.images.ycbcr import to_rgb

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

GRAY = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_YBR = frozenset({"YBR_FULL", "YBR_FULL_422"})
COLOUR = frozenset({"RGB", "YBR_RCT", "YBR_ICT", *_YBR})

_DEFLATED = "1.2.840.10008.1.2.1.99"
_NATIVE = {"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", _DEFLATED}
_RLE = "1.2.840.10008.1.2.5"
_JPEG = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 57, 70, 80, 81, 90, 91, 201, 202, 203)}

_KEYWORDS = {0x0010: "PixelData", 0x0009: "DoubleFloatPixelData", 0x0008: "FloatPixelData"}
_FLOATS = {0x0008: 4, 0x0009: 8}
_LONG_TYPES = {b"OB", b"OW", b"OF", b"OD", b"OL", b"UN"}
_UNDEFINED = 0xFFFFFFFF
_READ_IN = (1, 8, 16, 32)


class Frame(NamedTuple):
    """A decoded frame.

    Parameters
    ----------
    values : ndarray of shape (rows, columns) or (rows, columns, 3)
        Stored numbers, signed where they are, or RGB.
    bits : int
        Of a sample, as far as they are used.
    background : ndarray of shape (rows, columns), bool, or None
        Where the scanner padded.
    """

    values: NDArray[Any]
    bits: int
    background: NDArray[np.bool_] | None


class _Layout(NamedTuple):
    """What the header states of every frame."""

    rows: int
    columns: int
    channels: int
    colours: str
    allocated: int
    stored: int
    high: int
    signed: bool
    in_planes: bool
    frames: int


class _Element(NamedTuple):
    """The pixel data in a file: where its value begins, its length, and how it is written."""

    file: BinaryIO
    start: int
    length: int
    order: str
    in_words: bool
    float_bytes: int


def decode_frame(path: str, header: Dataset, at: int, frame: int, n: int, name: str) -> Frame:
    """Decode one frame.

    Parameters
    ----------
    path : str
        The file.
    header : pydicom.Dataset
        All of its header that is read.
    at : int
        Where its pixel data begins.
    frame, n : int
        Which one, from 0, of how many.
    name : str
        What an error calls the file.

    Raises
    ------
    ImageError
        It is stored in a way that is not read, or a library is missing.
    FaultError
        The header contradicts itself or the data, or the data end early.
    """
    syntax = str(header.file_meta.get("TransferSyntaxUID") or "")
    _check_syntax(syntax, name)
    layout = _layout(header, n, name)
    with open(path, "rb") as file:
        element = _deflated(path) if syntax == _DEFLATED else _found(file, at)
        if layout.allocated not in _READ_IN and not element.float_bytes:
            raise ImageError(
                f"{name}: is stored in {layout.allocated} bits a sample, which is not read; export it with 8 or 16"
            )
        if syntax in _NATIVE:
            return _frame(_native(element, layout, frame), layout, layout.allocated, header)
        if element.length != _UNDEFINED:
            raise FaultError("its pixel data are not compressed as its transfer syntax states")
        frames = frames_of(path, element.start, layout.frames, header.get("ExtendedOffsetTable") or b"")
        if frame >= len(frames):
            raise FaultError("it has fewer frames than its header states")
        stream = read(file, frames[frame])
    try:
        if syntax == _RLE:
            values = unpacked(stream, layout.rows, layout.columns, layout.channels, -(-layout.allocated // 8))
            return _frame(values, layout, layout.allocated, header)
        values, coded = decoded(stream, layout.rows, layout.columns, layout.channels)
    except ImportError:
        raise missing(name, "compressed DICOM", "dicom") from None
    # Decoders make RGB of what JPEG and JPEG 2000 say of their own colours, whatever the header says of them.
    colours = layout.colours if coded.as_coded or layout.channels == 1 else "RGB"
    return _frame(values, layout._replace(colours=colours), coded.bits, header)


def _check_syntax(syntax: str, name: str) -> None:
    if syntax in _NATIVE or syntax == _RLE or syntax in _JPEG:
        return
    from pydicom._uid_dict import UID_dictionary

    kind = UID_dictionary.get(syntax, ("a private transfer syntax",))[0]
    raise ImageError(f"{name}: is stored in a way that is not read ({kind}); export it uncompressed")


def _layout(header: Dataset, n: int, name: str) -> _Layout:
    colours = words(header, "PhotometricInterpretation")
    if not colours:
        raise ImageError(
            f"{name}: states no photometric interpretation, so black and white cannot be told; export it again with one"
        )
    if colours not in GRAY | COLOUR:
        raise ImageError(f"{name}: is in colours that are not read; export it as MONOCHROME2 or RGB")
    channels = 1 if colours in GRAY else 3
    if integer(header, "SamplesPerPixel", channels) != channels:
        raise FaultError("its SamplesPerPixel and PhotometricInterpretation contradict each other")
    allocated = integer(header, "BitsAllocated", 0)
    stored = integer(header, "BitsStored", allocated)
    high = integer(header, "HighBit", stored - 1)
    if not 0 < stored <= high + 1 <= allocated:
        raise FaultError("its BitsAllocated, BitsStored and HighBit contradict each other")
    signed, planes = (integer(header, keyword, 0) == 1 for keyword in ("PixelRepresentation", "PlanarConfiguration"))
    rows, columns = (integer(header, keyword, 0) for keyword in ("Rows", "Columns"))
    return _Layout(rows, columns, channels, colours, allocated, stored, high, signed, planes, n)


def _found(file: BinaryIO, at: int) -> _Element:
    """Read the head of the pixel data as it is written, which need not be as the transfer syntax has it."""
    file.seek(at)
    head = file.read(12)
    order = "<" if head[:2] == b"\xe0\x7f" else ">"
    group, kind = struct.unpack(f"{order}HH", head[:4].ljust(4, b"\0"))
    if group != 0x7FE0 or kind not in _KEYWORDS or len(head) < 12:
        raise FaultError("it has no pixel data")
    explicit = head[4:6] in _LONG_TYPES
    length = struct.unpack(f"{order}I", head[8:12] if explicit else head[4:8])[0]
    return _Element(file, at + (12 if explicit else 8), length, order, head[4:6] != b"OB", _FLOATS.get(kind, 0))


def _deflated(path: str) -> _Element:
    """Inflate a file's pixel data into memory."""
    from pydicom import dcmread

    everything = dcmread(path, force=True)
    for kind, keyword in _KEYWORDS.items():
        if keyword in everything:
            value = everything.get_item(keyword).value
            return _Element(io.BytesIO(value), 0, len(value), "<", False, _FLOATS.get(kind, 0))
    raise FaultError("it has no pixel data")


def _native(element: _Element, layout: _Layout, frame: int) -> NDArray[Any]:
    """Read a frame as it is stored, colours in the last axis."""
    if element.length == _UNDEFINED:
        raise FaultError("its pixel data are compressed, and its transfer syntax states that they are not")
    bits = 8 * element.float_bytes or layout.allocated
    halved = layout.colours == "YBR_FULL_422"
    samples = layout.rows * layout.columns * (2 if halved else layout.channels)
    begin, end = frame * samples * bits, (frame + 1) * samples * bits
    data = _bytes(element, begin // 8, -(-end // 8), swapped=bits == 8 and element.order == ">" and element.in_words)
    if bits == 1:
        values = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[begin % 8 :][:samples]
    else:
        kind = f"f{element.float_bytes}" if element.float_bytes else f"u{bits // 8}"
        values = np.frombuffer(data, element.order + kind)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if halved:
        return _spread(values.reshape(layout.rows, -1, 4))
    if layout.channels == 1:
        return values.reshape(layout.rows, layout.columns)
    if layout.in_planes:
        return values.reshape(layout.channels, layout.rows, layout.columns).transpose(1, 2, 0)
    return values.reshape(layout.rows, layout.columns, layout.channels)


def _bytes(element: _Element, begin: int, end: int, *, swapped: bool) -> bytes:
    """Read a range of the pixel data; bytes that are stored as big-endian words are put in order."""
    first, last = (begin // 2 * 2, -(-end // 2) * 2) if swapped else (begin, end)
    element.file.seek(element.start + first, os.SEEK_SET)
    data = element.file.read(min(last, element.length) - first) if first < element.length else b""
    if len(data) < end - first:
        raise FaultError("it has fewer samples than its header states")
    if swapped:
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    return data[begin - first : end - first]


def _spread(pairs: NDArray[Any]) -> NDArray[Any]:
    """Return both pixels of a pair the colours that they share."""
    lights, colours = pairs[..., :2].reshape(len(pairs), -1), np.repeat(pairs[..., 2:], 2, axis=1)
    return np.concatenate([lights[..., None], colours], axis=-1)


def _frame(values: NDArray[Any], layout: _Layout, held: int, header: Dataset) -> Frame:
    """Take the stored bits out of the `held` ones of each sample, and tell padding and colours."""
    if values.dtype.kind == "f":
        return Frame(values, held, _padded(values, header))
    unsigned = values.astype(f"u{values.dtype.itemsize}", copy=False)
    kept = min(layout.stored, held)
    below = layout.high + 1 - layout.stored if layout.high < held else 0
    values = _bits(unsigned, kept, below, signed=layout.signed)
    if layout.channels == 1:
        whole = unsigned.view(f"i{unsigned.dtype.itemsize}") if layout.signed else unsigned
        return Frame(values, kept, None if layout.colours == "PALETTE COLOR" else _padding(values, whole, kept, header))
    if layout.colours in _YBR:
        values = to_rgb(values, kept)
    return Frame(values, kept, None)


def _bits(values: NDArray[Any], kept: int, below: int, *, signed: bool) -> NDArray[Any]:
    """Take `kept` bits above the `below` lowest: what is stored beside them, such as an overlay, is left out."""
    unused = 8 * values.dtype.itemsize - kept - below
    highest = int(values.max())
    if below and highest < 2**kept and (values & (2**below - 1)).any():
        raise FaultError("its HighBit does not fit its samples")
    kind = f"{'i' if signed else 'u'}{values.dtype.itemsize}"
    if unused + below == 0 or (not signed and not below and highest < 2**kept):
        return values.view(kind)
    if kept == 1 and signed:
        return values.view(kind)
    return np.right_shift(np.left_shift(values, unused).view(kind), unused + below)


def _padding(values: NDArray[Any], whole: NDArray[Any], kept: int, header: Dataset) -> NDArray[np.bool_] | None:
    """Find padding, whose value may need more bits than the stored ones, and may be written with the other sign."""
    ends = _range(header, "PixelPadding")
    if ends is None:
        return None
    size, signed = 8 * whole.dtype.itemsize, whole.dtype.kind == "i"
    low, high = sorted((int(end) + 2**size * signed // 2) % 2**size - 2**size * signed // 2 for end in ends)
    fits = -(2 ** (kept - 1)) * signed <= low and high < 2 ** (kept - signed)
    return _between(values if fits else whole, low, high)


def _padded(values: NDArray[Any], header: Dataset) -> NDArray[np.bool_] | None:
    """Find padding of floats."""
    ends = _range(header, "FloatPixelPadding" if values.dtype.itemsize == 4 else "DoubleFloatPixelPadding")
    return None if ends is None else _between(values, *ends)


def _range(header: Dataset, prefix: str) -> list[float] | None:
    value, limit = (number(header, prefix + part) for part in ("Value", "RangeLimit"))
    return None if value is None else sorted([value, value if limit is None else limit])


def _between(values: NDArray[Any], low: float, high: float) -> NDArray[np.bool_] | None:
    found: NDArray[np.bool_] = (values >= low) & (values <= high)
    return found if found.any() and not found.all() else None  # all of one value is a picture of nothing
