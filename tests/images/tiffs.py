"""Small TIFF files of the kinds that tifffile writes."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import tifffile

from .pictures import gray_ramp, rgb_ramp

_COMPRESSIONS = (None, "deflate", "lzw", "packbits", "zstd", "jpeg", "jpeg2000", "jpegxl", "lerc", "webp", "png")


def tiff_files() -> dict[str, bytes]:
    """Give one small file of each compression, in strips, tiles and planes, and a stack."""
    gray, colour = gray_ramp(40, 32), rgb_ramp(40, 32)
    files: dict[str, bytes] = {}

    def keep(name: str, *pages: np.ndarray, **options: Any) -> None:
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer, bigtiff=options.pop("big", False)) as file:
            for page in pages:
                file.write(page, metadata=None, **options)
        files[f"{name}.tif"] = buffer.getvalue()

    for compression in _COMPRESSIONS:
        name = compression or "plain"
        keep(f"{name}-tiles", colour, photometric="rgb", compression=compression, tile=(16, 16))
        if compression != "webp":
            keep(f"{name}-strips", gray, photometric="minisblack", compression=compression, rowsperstrip=16)
    keep("planes", colour.transpose(2, 0, 1).astype(np.uint16), photometric="rgb", planarconfig="separate")
    keep("floats", gray / 255, photometric="minisblack", compression="deflate", predictor=True)
    keep("big", gray, photometric="minisblack", big=True)
    keep("stack", *(np.roll(gray, k, axis=0) for k in range(4)), photometric="minisblack", compression="lzw")
    return files


def huge_tile(side: int = 65_536) -> bytes:
    """Give a TIFF whose only tile is as large as no picture."""
    content = bytes(4096)
    entries = [(256, 5000), (257, 64), (258, 8), (259, 1), (262, 1), (277, 1), (322, side), (323, side)]
    entries += [(324, 8 + 2 + 12 * 10 + 4), (325, len(content))]
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + listed + bytes(4) + content
