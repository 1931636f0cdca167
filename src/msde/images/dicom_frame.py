"""One frame of a DICOM file: the stored numbers, or colours as RGB, native or compressed."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.compressed import decoded, unpacked
from msde.images.files import FaultError, missing
from msde.images.fragments import Piece, frames_of, items, read
from msde.images.header import integer, number, words
from msde.images.ycbcr import to_rgb

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

GRAY = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_HALVED = "YBR_FULL_422"
_YBR = frozenset({"YBR_FULL", _HALVED})
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
_TOO_FEW, _TOO_SHORT = (f"it has fewer {what} than its header states" for what in ("frames", "samples"))


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
    syntax, layout = _syntax(header, name), _layout(header, n, name)
    with open(path, "rb") as file:
        element = _deflated(path) if syntax == _DEFLATED else _found(file, at)
        if layout.allocated not in _READ_IN and not element.float_bytes:
            raise ImageError(
                f"{name}: is stored in {layout.allocated} bits a sample, which is not read; export it with 8 or 16"
            )
        if syntax in _NATIVE:
            return _frame(_native(element, layout, frame), layout, layout.allocated, header)
        frames = _compressed(path, element, header, n)
        if frame >= len(frames):
            raise FaultError(_TOO_FEW)
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


def check_frames(path: str, header: Dataset, at: int, n: int, name: str) -> None:
    """Check that a file goes on to the end of the frames that it states, without decoding any; see `decode_frame`."""
    syntax, layout = _syntax(header, name), _layout(header, n, name)
    with open(path, "rb") as file:
        element = _deflated(path) if syntax == _DEFLATED else _found(file, at)
        if syntax in _NATIVE:
            held = min(element.length, element.file.seek(0, os.SEEK_END) - element.start)
            if held < -(-n * _frame_bits(element, layout) // 8):
                raise FaultError(_TOO_SHORT)
        elif len(_compressed(path, element, header, n)) < n:
            raise FaultError(_TOO_FEW)


def read_syntaxes() -> frozenset[str]:
    """Return the UIDs of the transfer syntaxes that are read."""
    return frozenset(_NATIVE | {_RLE} | _JPEG) - {""}


def stored_digest(file: BinaryIO, header: Dataset, at: int) -> str:
    """Digest the pixels as they are stored, with their layout and without all else that the file says.

    Parameters
    ----------
    file : binary file
        The DICOM file.
    header : pydicom.Dataset
        With what states the layout.
    at : int
        Where its pixel data begins.

    Returns
    -------
    str
        SHA-256. The same pixels have another digest in another transfer syntax, if that stores other bytes.

    Raises
    ------
    FaultError
        The file ends early.
    """
    if str(header.file_meta.get("TransferSyntaxUID") or "") == _DEFLATED:
        file.seek(0)
        element = _deflated(file)
    else:
        element = _found(file, at)
    size = [integer(header, keyword, 0) for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    digest = hashlib.sha256(repr((*size, integer(header, "NumberOfFrames", 1) or 1)).encode())
    element.file.seek(element.start)
    if element.length == _UNDEFINED:
        for piece in items(element.file)[1:]:
            digest.update(read(element.file, [piece]))
    else:
        digest.update(read(element.file, [(element.start, element.length)]))
    return digest.hexdigest()


def _compressed(path: str, element: _Element, header: Dataset, n: int) -> list[list[Piece]]:
    if element.length != _UNDEFINED:
        raise FaultError("its pixel data are not compressed as its transfer syntax states")
    return frames_of(path, element.start, n, header.get("ExtendedOffsetTable") or b"")


def _syntax(header: Dataset, name: str) -> str:
    """Return the transfer syntax, one of those that are read."""
    syntax = str(header.file_meta.get("TransferSyntaxUID") or "")
    if syntax in _NATIVE or syntax == _RLE or syntax in _JPEG:
        return syntax
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


def _deflated(file: str | BinaryIO) -> _Element:
    """Inflate a file's pixel data into memory."""
    from pydicom import dcmread

    everything = dcmread(file, force=True)
    for kind, keyword in _KEYWORDS.items():
        if keyword in everything:
            value = everything.get_item(keyword).value
            return _Element(io.BytesIO(value), 0, len(value), "<", False, _FLOATS.get(kind, 0))
    raise FaultError("it has no pixel data")


def _native(element: _Element, layout: _Layout, frame: int) -> NDArray[Any]:
    """Read a frame as it is stored, colours in the last axis."""
    if element.length == _UNDEFINED:
        raise FaultError("its pixel data are compressed, and its transfer syntax states that they are not")
    size, bits = _frame_bits(element, layout), _sample_bits(element, layout)
    samples, halved = size // bits, layout.colours == _HALVED
    begin, end = frame * size, (frame + 1) * size
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


def _sample_bits(element: _Element, layout: _Layout) -> int:
    return 8 * element.float_bytes or layout.allocated


def _frame_bits(element: _Element, layout: _Layout) -> int:
    """Return how many bits a native frame takes."""
    channels = 2 if layout.colours == _HALVED else layout.channels
    return layout.rows * layout.columns * channels * _sample_bits(element, layout)


def _bytes(element: _Element, begin: int, end: int, *, swapped: bool) -> bytes:
    """Read a range of the pixel data; bytes that are stored as big-endian words are put in order."""
    first, last = (begin // 2 * 2, -(-end // 2) * 2) if swapped else (begin, end)
    element.file.seek(element.start + first, os.SEEK_SET)
    data = element.file.read(min(last, element.length) - first) if first < element.length else b""
    if len(data) < end - first:
        raise FaultError(_TOO_SHORT)
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
