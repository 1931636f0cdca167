"""DICOM files in every transfer syntax that can be written here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders.base import RLELosslessEncoder

from .medical import NATIVE, dicom_dataset, saved
from .pictures import gray_ramp, rgb_ramp

RLE = "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4."


def _rle(frame: NDArray[Any], bits: int) -> bytes:
    channels = frame.shape[2] if frame.ndim == 3 else 1
    return RLELosslessEncoder.encode(
        frame,
        rows=frame.shape[0],
        columns=frame.shape[1],
        samples_per_pixel=channels,
        photometric_interpretation="RGB" if channels == 3 else "MONOCHROME2",
        bits_allocated=8 * frame.itemsize,
        bits_stored=8 * frame.itemsize,
        pixel_representation=0,
        number_of_frames=1,
        planar_configuration=0,
        encoding_plugin="pydicom",
    )


# Syntax -> (its name, how a frame is encoded, whether it is lossless)
ENCODERS: dict[str, tuple[str, Callable[[NDArray[Any], int], bytes | bytearray], bool]] = {
    RLE: ("rle", _rle, True),
    f"{_JPEG}50": ("jpeg", lambda frame, _: imagecodecs.jpeg8_encode(frame, 98, subsampling="444"), False),
    f"{_JPEG}51": ("jpeg-12", lambda frame, _: imagecodecs.jpeg8_encode(frame, 98, bitspersample=12), False),
    f"{_JPEG}57": (
        "jpeg-lossless",
        lambda frame, bits: imagecodecs.jpeg8_encode(frame, lossless=True, predictor=4, bitspersample=bits),
        True,
    ),
    f"{_JPEG}70": (
        "jpeg-lossless-sv1",
        lambda frame, bits: imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, bitspersample=bits),
        True,
    ),
    f"{_JPEG}80": ("jpeg-ls", lambda frame, _: imagecodecs.jpegls_encode(frame), True),
    f"{_JPEG}90": (
        "jpeg-2000",
        lambda frame, bits: imagecodecs.jpeg2k_encode(
            frame, level=0, codecformat="j2k", reversible=True, bitspersample=bits
        ),
        True,
    ),
    f"{_JPEG}201": ("htj2k", lambda frame, _: imagecodecs.htj2k_encode(frame), True),
}
NAMES: dict[str, str] = {**{uid: uid.name for uid in NATIVE}, **{uid: name for uid, (name, _, _) in ENCODERS.items()}}


def stream(syntax: str, values: NDArray[Any], bits: int = 8) -> bytes:
    """Encode one frame."""
    return bytes(ENCODERS[syntax][1](np.ascontiguousarray(values), bits))


def writes(syntax: str, values: NDArray[Any], bits: int) -> bool:
    """Tell whether a syntax can hold samples of so many bits."""
    if syntax == f"{_JPEG}50":
        return bits == 8
    if syntax == f"{_JPEG}51":
        return bits == 12 and values.ndim == 2
    return True


def encapsulated(
    frames: list[bytes], syntax: str, like: NDArray[Any], *, table: str = "none", **elements: Any
) -> bytes:
    """Give a DICOM file of streams, each a frame like `like`, with no, a basic or an extended table of offsets."""
    dataset = dicom_dataset(like, syntax, **elements)
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    if table == "extended":
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
            frames
        )
    else:
        dataset.PixelData = encapsulate(frames, has_bot=table == "basic")
    dataset["PixelData"].VR = "OB"
    return saved(dataset)


def written(values: NDArray[Any], syntax: str, bits: int | None = None, **elements: Any) -> bytes:
    """Give a DICOM file of a picture (H, W) or (H, W, 3), unsigned, of which `bits` bits are stored."""
    bits = bits or 8 * values.dtype.itemsize
    elements = {"BitsStored": bits, "HighBit": bits - 1} | elements
    if syntax not in ENCODERS:
        return saved(dicom_dataset(values, syntax, **elements))
    if syntax == f"{_JPEG}50" and values.ndim == 3:
        elements = {"PhotometricInterpretation": "YBR_FULL"} | elements
    if syntax in (f"{_JPEG}90", f"{_JPEG}201") and values.ndim == 3:
        elements = {"PhotometricInterpretation": "YBR_RCT"} | elements
    return encapsulated([stream(syntax, values, bits)], syntax, values, **elements)


def coded_files() -> dict[str, bytes]:
    """Give one small file of each syntax and depth, and of several frames with each table of offsets."""
    gray = gray_ramp(40, 32)
    pictures: dict[str, tuple[NDArray[Any], int]] = {
        "8": (gray, 8),
        "12": (gray.astype(np.uint16) * 16, 12),
        "rgb": (rgb_ramp(40, 32), 8),
    }
    files = {
        f"{syntax}-{kind}.dcm": written(values, syntax, bits)
        for syntax in ENCODERS
        for kind, (values, bits) in pictures.items()
        if writes(syntax, values, bits)
    }
    for syntax in (RLE, f"{_JPEG}80", f"{_JPEG}90"):
        streams = [stream(syntax, np.roll(gray, k, axis=0)) for k in range(3)]
        for table in ("none", "basic", "extended"):
            files[f"{syntax}-{table}.dcm"] = encapsulated(streams, syntax, gray, table=table)
    return files
