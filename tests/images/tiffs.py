"""Small TIFF files of the kinds that tifffile writes."""

from __future__ import annotations

import io
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
