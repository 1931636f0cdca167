"""Read DICOM: samples in their unit after the modality LUT, and how the file asks to be shown.

Nothing that a file says of the patient gets into an error: of the decoders' own words only the kind of error is kept.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.codestream import stated_size
from msde.images.files import MAX_PARTS, Contents, damaged, missing, number_of, numbered, whole
from msde.images.formats import Format
from msde.images.intensity import percentiles
from msde.images.samples import Ends, Samples, check_size

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_INFLATED = 512_000_000
"""Bytes that a deflated file may hold."""
CT_WINDOW = (-1000.0, 1000.0)
"""Hounsfield units shown of CT that states no window: from air to dense bone."""
_ARBITRARY_UNITS = frozenset({"MR", "PT", "NM"})  # modalities whose stored range means nothing by itself
_ONWARDS = (1, 1, -1)  # to the left, to the back and to the feet, in the patient's coordinates

_TAGS = [
    *("SeriesInstanceUID", "InstanceNumber", "Modality", "SOPClassUID", "ImagePositionPatient"),
    *("ImageOrientationPatient", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(f"{c}PaletteColorLookupTable{what}" for c in ("Red", "Green", "Blue") for what in ("Descriptor", "Data")),
    *(f"Segmented{c}PaletteColorLookupTableData" for c in ("Red", "Green", "Blue")),
]


def look_into(path: str, _: Format, name: str) -> Contents | None:
    """Tell a file's frames, and the series and place of a slice.

    Returns
    -------
    Contents or None
        None where the object has no picture, such as a report, a plan, a document or a directory.
    """
    header = _header(path, name)
    with _said_plainly(name):
        if "Rows" not in header:
            _other_kind(header, name)
            return None
        frames = numbered(_frames(header, name))
        where, turned = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
        series = header.get("SeriesInstanceUID")
        if frames or not series or not where or not turned or len(where) != 3 or len(turned) != 6:
            return Contents(frames)
        # Slices of one volume are parallel and of one size; a localiser in the same series is neither.
        axes = np.array(turned, dtype=float)
        across = np.cross(axes[:3], axes[3:])
        # From the head, the patient's right or the front, as the slices of NIfTI are numbered.
        main = int(np.abs(across).argmax())
        depth = float(across @ np.array(where, dtype=float) * np.sign(across[main]) * _ONWARDS[main])
        key = (str(series), int(header.Rows), int(header.Columns), *axes.round(2).tolist())
        return Contents(frames, key, (depth, float(header.get("InstanceNumber") or 0)))


def decode(path: str, _: Format, part: str | None, name: str) -> Samples:
    """Decode one frame.

    Parameters
    ----------
    path : str
        The file.
    part : str or None
        Number of the frame.
    name : str
        What an error calls it.

    Returns
    -------
    Samples
        Gray in the unit of the modality LUT (Hounsfield units in CT), or RGB. Black is the larger in MONOCHROME1.

    Raises
    ------
    ImageError
        No whole picture within the limits, a transfer syntax that is not read, or a library that is not installed.
    """
    header = _header(path, whole(name, part))
    with _said_plainly(name):
        if "Rows" not in header:
            kind = _other_kind(header, name)
            raise ImageError(f"{name}: is a DICOM object without a picture ({kind}); leave it out")
        check_size(int(header.Columns), int(header.Rows), name)
        frame = number_of(part, _frames(header, name), name, "frames")
        stored = _stored(path, header, frame, name)
        kind = header.get("PhotometricInterpretation")
        if kind == "PALETTE COLOR":
            from pydicom.pixels.processing import apply_color_lut

            stored = apply_color_lut(stored, header)
        if stored.ndim == 3:
            return Samples(stored, 0.0, float(2 ** (8 * stored.dtype.itemsize) - 1))
        values, low, high = _in_its_unit(stored, header, frame)
        display = _display(header, frame, low, high)
        if display is not None:
            display = _told(display, name)
        return Samples(values, *((high, low) if kind == "MONOCHROME1" else (low, high)), display)


def _header(path: str, name: str) -> Dataset:
    status = os.stat(path)
    return _read_header(path, name, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)  # the frames of one file are read one after the other
def _read_header(path: str, name: str, *_: int) -> Dataset:
    with _said_plainly(name):
        from pydicom import dcmread

        _check_inflation(path, name)
        return dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))


def _frames(header: Dataset, name: str) -> int:
    if "NumberOfFrames" not in header or header["NumberOfFrames"].is_empty:
        return 1
    n = int(header.NumberOfFrames)
    if not 0 < n <= MAX_PARTS:
        raise ImageError(f"{name}: states {n} frames where 1 to {MAX_PARTS:,} are expected; export it again")
    return n


def _stored(path: str, header: Dataset, frame: int, name: str) -> NDArray[Any]:
    """Decode a frame to the stored numbers, or to RGB."""
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import (
        DeflatedExplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEGExtended12Bit,
        RLELossless,
    )

    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None or syntax == DeflatedExplicitVRLittleEndian:
        everything = dcmread(path, force=True)
        plain = ImplicitVRLittleEndian if header.original_encoding[0] else ExplicitVRLittleEndian
        everything.file_meta.TransferSyntaxUID = syntax or plain
        values = pixel_array(everything, index=frame)
    elif not syntax.is_encapsulated:
        values = pixel_array(path, index=frame)
    else:
        stream, as_stated = _stream(path, header, frame, name)
        # The other plug-in for RLE leaves by no Exception where the stream is damaged.
        plugin = "pydicom" if syntax == RLELossless else ""
        try:
            values = pixel_array(path if as_stated else dcmread(path), index=frame, decoding_plugin=plugin)
        except RuntimeError:
            if syntax != JPEGExtended12Bit or not find_spec("imagecodecs"):
                raise
            values = _lenient(stream, header)
    kept, held = int(header.BitsStored), 8 * values.dtype.itemsize
    if values.ndim == 2 and values.dtype.kind in "iu" and 1 < kept < held:
        unused = values.dtype.type(held - kept)  # the bits above may carry an overlay
        values = np.right_shift(np.left_shift(values, unused), unused)
    return values


def _lenient(stream: bytes, header: Dataset) -> NDArray[np.uint16]:
    """Decode JPEG of 12 bits whose spectral selection is misstated, as that of old encoders is."""
    import imagecodecs

    values: NDArray[np.uint16] = imagecodecs.jpeg_decode(stream)
    if values.shape != (header.Rows, header.Columns) or values.dtype != np.uint16:
        raise ValueError("the stream holds something else than the header states")
    return values


def _stream(path: str, header: Dataset, frame: int, name: str) -> tuple[bytes, bool]:
    """Read the compressed stream of a frame, and tell whether the file is written in the way that its syntax says.

    Refused is one that states another size than the header, before a decoder makes room for it.
    """
    from pydicom import dcmread
    from pydicom.encaps import get_frame

    with open(path, "rb") as file:
        dcmread(file, stop_before_pixels=True, specific_tags=["Rows"])
        head = file.read(12)  # tag, type and length of the pixel data
        as_stated = head[4:6] in (b"OB", b"OW", b"UN")
        if not as_stated:  # no type: the file is in implicit form, which dcmread alone finds out
            file.seek(-4, os.SEEK_CUR)
        table = [header.get(part) for part in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        stream = get_frame(
            file,
            frame,
            number_of_frames=_frames(header, name),
            extended_offsets=(table[0], table[1]) if all(table) else None,
        )
    size = stated_size(stream)
    if size not in (None, (int(header.Columns), int(header.Rows))):
        raise damaged(name, "DICOM", "its compressed stream states another size than its header")
    return stream, as_stated


def _in_its_unit(stored: NDArray[Any], header: Dataset, frame: int) -> Ends:
    """Apply the modality LUT to gray samples; give the ends of the range that the stored bits can hold."""
    if stored.dtype.kind == "f":
        return stored, -np.inf, np.inf
    bits = int(header.BitsStored)
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if header.PixelRepresentation else (0.0, 2.0**bits - 1)
    module = _module(header, frame, "PixelValueTransformationSequence")
    if module.get("ModalityLUTSequence"):
        return _looked_up(stored, module.ModalityLUTSequence[0], header)
    slope, intercept = float(module.get("RescaleSlope") or 1), float(module.get("RescaleIntercept") or 0)
    if not (np.isfinite(slope) and np.isfinite(intercept)) or (slope, intercept) == (1, 0):
        return stored, low, high
    low, high = sorted((low * slope + intercept, high * slope + intercept))
    if slope == 1 and intercept.is_integer() and abs(intercept) < 2**31:
        return stored.astype(np.int64 if bits > 16 else np.int32) + int(intercept), low, high
    with np.errstate(over="ignore"):
        return (stored * slope + intercept).astype(np.float32), low, high


def _display(header: Dataset, frame: int, low: float, high: float) -> Callable[[NDArray[Any]], Ends] | None:
    """Find how the file asks to be shown, or what stands in where it does not say; None for all of its range."""
    module = _module(header, frame, "FrameVOILUTSequence")
    if module.get("VOILUTSequence"):
        return lambda values: _looked_up(values, module.VOILUTSequence[0], header)
    centre, width = (_first(module.get(part)) for part in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 0:
        return _window(module.get("VOILUTFunction") or "LINEAR", centre, width)
    modality = header.get("Modality")
    if modality == "CT":
        return lambda values: (values, *CT_WINDOW)
    if modality in _ARBITRARY_UNITS or not high - low < 2**16:
        return percentiles
    return None


def _told(display: Callable[[NDArray[Any]], Ends], name: str) -> Callable[[NDArray[Any]], Ends]:
    """Say in one line what is wrong with a window or a table, which is not looked at before it is used."""

    def shown(values: NDArray[Any]) -> Ends:
        with _said_plainly(name):
            return display(values)

    return shown


def _window(function: str, centre: float, width: float) -> Callable[[NDArray[Any]], Ends]:
    """Give a VOI function of part 3, C.11.2.1."""
    if function == "SIGMOID":
        return lambda values: (1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -50, 50))), 0.0, 1.0)
    if function == "LINEAR_EXACT":
        return lambda values: (values, centre - width / 2, centre + width / 2)
    return lambda values: (values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def _looked_up(values: NDArray[Any], table: Dataset, header: Dataset) -> Ends:
    """Apply a lookup table to values; the ends are those of what the table can hold."""
    n, first, bits = (int(number) for number in table.LUTDescriptor)
    n = n % 65536 or 65536
    if header.PixelRepresentation and first > 32767:  # signed, but read as unsigned
        first -= 65536
    entries = table.LUTData
    if isinstance(entries, bytes):
        little = header.file_meta.get("TransferSyntaxUID", "") != "1.2.840.10008.1.2.2"
        entries = np.frombuffer(entries, "u1" if len(entries) in (n, n + 1) else "<u2" if little else ">u2")
    found = np.asarray(entries, np.uint16)[:n]
    steps = np.clip(np.rint(values).astype(np.int64) - first, 0, len(found) - 1)
    return found[steps], 0.0, float(2 ** min(bits, 16) - 1)


def _module(header: Dataset, frame: int, sequence: str) -> Dataset:
    """Find where a frame's settings stand: with the frame, with all frames, or in the header."""
    for groups, item in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = header.get(groups) or ()
        if item < len(items) and items[item].get(sequence):
            module: Dataset = items[item][sequence].value[0]
            return module
    return header


def _first(value: Any) -> float | None:
    """Take the first of one or several numbers, or None where there is none that is finite."""
    values = [value] if isinstance(value, (int, float)) else list(value or ())
    return float(values[0]) if values and np.isfinite(float(values[0])) else None


def _check_inflation(path: str, name: str) -> None:
    """Refuse a deflated file that would fill the memory."""
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with open(path, "rb") as file:
        read_preamble(file, force=True)
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while size <= MAX_INFLATED and (block := file.read(2**16)):
            size += len(inflater.decompress(block, MAX_INFLATED + 1))
    if size > MAX_INFLATED:
        raise ImageError(f"{name}: holds over {MAX_INFLATED:,} bytes deflated; export it uncompressed")


def _other_kind(header: Dataset, name: str) -> str:
    """Name the kind of an object that has no picture, in the standard's words, never in the file's.

    Raises
    ------
    ImageError
        It should have one, or its kind is not known: then it is damaged, encrypted or no DICOM.
    """
    from pydicom._uid_dict import UID_dictionary

    kind = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID"))
    words = UID_dictionary.get(kind, ("Image",))[0].removesuffix(" Storage")
    if "Image" in words:
        raise damaged(name, "DICOM", "it states no size")
    return words


@contextmanager
def _said_plainly(name: str) -> Iterator[None]:
    """Turn what pydicom and the decoders raise into one line that quotes nothing of the file."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except ImportError:
        raise missing(name, "DICOM", "dicom") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        if isinstance(error, NotImplementedError):
            raise ImageError(f"{name}: is compressed in a way that is not read; export it uncompressed") from None
        gave_up = "available plugins" in str(error) and not find_spec("pylibjpeg")  # another may not know this kind
        if gave_up or "missing dependencies" in str(error):
            raise missing(name, "compressed DICOM", "dicom") from None
        raise damaged(name, "DICOM", type(error).__name__) from None
