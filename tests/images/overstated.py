"""Files that state more pictures than they can hold."""

from __future__ import annotations

import gzip

import numpy as np

from .medical import dicom_bytes, nifti_bytes
from .pictures import gray_ramp
from .syntaxes import RLE, encapsulated, stream


def stating(n: int) -> bytes:
    """Give a DICOM file of two frames that states n."""
    frames = np.stack([gray_ramp(), gray_ramp()[::-1]])
    return dicom_bytes(frames, NumberOfFrames=n)


def overstated() -> dict[str, bytes]:
    """Give files that state far more pictures than they hold."""
    tiny = np.zeros((8, 8, 32_767), np.uint8)
    wide = nifti_bytes(gray_ramp()[..., None].astype(np.uint8), packed=True)
    header = bytearray(gzip.decompress(wide))
    header[40:56] = np.array([3, 64, 64, 32_767, 1, 1, 1, 1], "<i2").tobytes()
    two = [stream(RLE, gray_ramp(40, 32))] * 2
    return {
        "native.dcm": stating(90_000),
        "one-more.dcm": stating(3),
        "rle.dcm": encapsulated(two, RLE, gray_ramp(40, 32)).replace(b"IS\x02\x002 ", b"IS\x02\x009 "),
        "slices.nii.gz": nifti_bytes(tiny, packed=True),
        "narrow.nii.gz": nifti_bytes(np.zeros((1, 2, 32_767), np.uint8), packed=True),
        "short.nii.gz": gzip.compress(bytes(header), 9),
    }
