"""Read DICOM: samples in their unit after the modality LUT, and how the file asks to be shown.

Nothing that a file says of the patient gets into an error: of the decoders' own words only the kind of error is kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.dicom_frame import check_frames, decode_frame
from msde.images.dicom_measures import spacing, spacing_of_ultrasound, stated_windows, unit_of
from msde.images.files import MAX_PARTS, Contents, FaultError, damaged, guarded, number_of, numbered, whole
from msde.images.formats import Format
from msde.images.header import integer, number, numbers, words
from msde.images.intensity import percentiles
from msde.images.lookup import palette, table
from msde.images.measures import Measures
from msde.images.remembered import remembering, state_of
from msde.images.samples import Ends, Samples, check_size
from msde.images.series import slice_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_INFLATED = 512_000_000
"""Bytes that a deflated file may hold."""
CT_WINDOW = (-1000.0, 1000.0)
"""Hounsfield units shown of CT that states no window: from air to dense bone."""
_ARBITRARY_UNITS = frozenset({"MR", "PT", "NM"})  # modalities whose stored range means nothing by itself

_TAGS = [
    *("SeriesInstanceUID", "SOPInstanceUID", "InstanceNumber", "Modality", "SOPClassUID", "ImagePositionPatient"),
    *("ImageOrientationPatient", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
    *("DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelSpacing", "ImagerPixelSpacing", "SequenceOfUltrasoundRegions", "RescaleType", "Units"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(f"{c}PaletteColorLookupTable{what}" for c in ("Red", "Green", "Blue") for what in ("Descriptor", "Data")),
    *(f"Segmented{c}PaletteColorLookupTableData" for c in ("Red", "Green", "Blue")),
]


def look_into(path: str, _: Format, name: str) -> Contents | None:
    """Tell a file's frames, or what it states of itself as a slice.

    Returns
    -------
    Contents or None
        None where the object has no picture, such as a report, a plan, a document or a directory.
    """
    header, at = _header(path, name)
    if "Rows" not in header:
        _other_kind(header, name)
        return None
    n = _frames(header, name)
    if n > 1:
        check_frames(path, header, at, n, name)
        return Contents(numbered(n))
    place, turn = (_module(header, 0, f"Plane{what}Sequence") for what in ("Position", "Orientation"))
    return Contents((), slice_of(header, place, turn))


def check_whole(path: str, name: str) -> None:
    """Check that a picture goes on to its end, without decoding it.

    Raises
    ------
    ImageError
        It is stored in a way that is not read.
    FaultError
        It ends early.
    """
    header, at = _header(path, name)
    check_size(integer(header, "Columns", 0), integer(header, "Rows", 0), name)
    check_frames(path, header, at, _frames(header, name), name)


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
    header, at = _header(path, whole(name, part))
    if "Rows" not in header:
        kind = _other_kind(header, name)
        raise ImageError(f"{name}: is a DICOM object without a picture ({kind}); leave it out")
    check_size(integer(header, "Columns", 0), integer(header, "Rows", 0), name)
    n = _frames(header, name)
    if part is None and n > 1:
        check_frames(path, header, at, n, name)  # which is more to the point than that a frame is to be named
    frame = number_of(part, n, name, "frames")
    values, bits, background = decode_frame(path, header, at, frame, n, name)
    kind = words(header, "PhotometricInterpretation")
    low, high = _stated(values, bits)
    if kind == "PALETTE COLOR":
        colours = palette(header, low)
        return Samples(colours(values), 0.0, colours.white)
    if values.ndim == 3:
        return Samples(values, 0.0, high)
    values, low, high, step = _in_its_unit(values, low, high, header, frame)
    display = _display(header, frame, low, high, step)
    if display is not None:
        display = _told(display, name)
    return Samples(values, *((high, low) if kind == "MONOCHROME1" else (low, high)), display, background)


def measures(path: str, part: str | None, name: str) -> Measures:
    """Read how a frame is measured: what is malformed is as if it were not there."""
    header, _ = _header(path, whole(name, part))
    frame = number_of(part, _frames(header, name), name, "frames")
    of_patient = spacing(_module(header, frame, "PixelMeasuresSequence"), "PixelSpacing")
    of_detector = spacing(header, "ImagerPixelSpacing")
    shown, values = (_module(header, frame, f"{of}Sequence") for of in ("FrameVOILUT", "PixelValueTransformation"))
    return Measures(
        spacing=of_patient or of_detector or spacing_of_ultrasound(header),
        at_detector=of_detector is not None and of_patient in (None, of_detector),
        unit=unit_of(header, values),
        modality=words(header, "Modality"),
        windows=() if shown.get("VOILUTSequence") else stated_windows(shown),
    )


def _header(path: str, name: str) -> tuple[Dataset, int]:
    return _read_header(path, name, *state_of(path))


@remembering(8)  # the frames of one file are read one after the other
def _read_header(path: str, name: str, *_: int) -> tuple[Dataset, int]:
    """Read the header, and where the pixel data begins."""
    from pydicom import dcmread

    with open(path, "rb") as file:
        check_inflation(file, name)
        file.seek(0)
        header = dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
        return header, file.tell()


def _frames(header: Dataset, name: str) -> int:
    n = integer(header, "NumberOfFrames", 1) or 1  # some writers mean one by 0
    if not 0 < n <= MAX_PARTS:
        raise ImageError(f"{name}: states {n} frames where 1 to {MAX_PARTS:,} are expected; export it again")
    return n


def _stated(values: NDArray[Any], bits: int) -> tuple[float, float]:
    """Return the ends of the range that stored bits can hold; floats state none."""
    match values.dtype.kind:
        case "f":
            return -np.inf, np.inf
        case "i":
            return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
        case _:
            return 0.0, 2.0**bits - 1


def _in_its_unit(
    stored: NDArray[Any], low: float, high: float, header: Dataset, frame: int
) -> tuple[NDArray[Any], float, float, float]:
    """Apply the modality LUT to gray samples; give the ends of the range too, and the step from value to value."""
    if stored.dtype.kind == "f":
        return stored, low, high, 0.0
    module = _module(header, frame, "PixelValueTransformationSequence")
    if module.get("ModalityLUTSequence"):
        lookup = table(module.ModalityLUTSequence[0], low)
        return lookup(stored), 0.0, lookup.white, 1.0
    slope, intercept = number(module, "RescaleSlope") or 1.0, number(module, "RescaleIntercept") or 0.0
    if (slope, intercept) == (1, 0):
        return stored, low, high, 1.0
    wide = high - low >= 2**16
    low, high = sorted((low * slope + intercept, high * slope + intercept))
    if slope == 1 and intercept.is_integer() and abs(intercept) < 2**31:
        return stored.astype(np.int64 if wide else np.int32) + int(intercept), low, high, 1.0
    with np.errstate(over="ignore"):
        return (stored * slope + intercept).astype(np.float32), low, high, abs(slope)


def _display(
    header: Dataset, frame: int, low: float, high: float, step: float
) -> Callable[[NDArray[Any]], Ends] | None:
    """Find how the file asks to be shown, or what stands in where it does not say; None for all of its range."""
    module = _module(header, frame, "FrameVOILUTSequence")
    if module.get("VOILUTSequence"):
        return lambda values: _looked_up(values, module.VOILUTSequence[0], low)
    centres, widths = numbers(module, "WindowCenter"), numbers(module, "WindowWidth")
    for centre, width in zip(centres, widths, strict=False):
        if centre is not None and width is not None and width > 0:
            return _window(words(module, "VOILUTFunction"), centre, width, min(step, 1.0))
    modality = words(header, "Modality")
    if modality == "CT":
        return lambda values: (values, *CT_WINDOW)
    if modality in _ARBITRARY_UNITS or not high - low < 2**16:
        return percentiles
    return None


def _looked_up(values: NDArray[Any], item: Dataset, lowest: float) -> Ends:
    lookup = table(item, lowest)
    return lookup(values), 0.0, lookup.white


def _told(display: Callable[[NDArray[Any]], Ends], name: str) -> Callable[[NDArray[Any]], Ends]:
    """Say in one line what is wrong with a window or a table, which is not looked at before it is used."""

    def shown(values: NDArray[Any]) -> Ends:
        with guarded(name, "DICOM"):
            return display(values)

    return shown


def _window(function: str, centre: float, width: float, step: float) -> Callable[[NDArray[Any]], Ends]:
    """Return a VOI function of part 3, C.11.2.1.

    LINEAR is defined there on whole numbers. Where the values come in smaller steps, its half and its one are of these;
    a window of less than a step, which it does not allow, is taken as LINEAR_EXACT.
    """
    if function == "SIGMOID":
        return lambda values: (1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -50, 50))), 0.0, 1.0)
    if function == "LINEAR_EXACT" or width < step:
        step = 0.0
    half = (width - step) / 2
    return lambda values: (values, centre - step / 2 - half, centre - step / 2 + half)


def _module(header: Dataset, frame: int, sequence: str) -> Dataset:
    """Find where a frame's settings stand: with the frame, with all frames, or in the header."""
    for groups, item in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = header.get(groups) or ()
        if item < len(items) and items[item].get(sequence):
            module: Dataset = items[item][sequence].value[0]
            return module
    return header


def check_inflation(file: BinaryIO, name: str) -> None:
    """Refuse a deflated file that would fill the memory.

    Raises
    ------
    ImageError
        It would.
    FaultError
        It ends early.
    """
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while size <= MAX_INFLATED and (block := file.read(2**16)):
        size += len(inflater.decompress(block, MAX_INFLATED + 1))
    if not inflater.eof and size <= MAX_INFLATED:
        raise FaultError("the file ends early")
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
