"""YCbCr as RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_rgb(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Turn full-range YCbCr of shape (..., 3) into RGB (DICOM part 3, C.7.6.3.1.2, and JFIF)."""
    light, blue, red = np.moveaxis(values.astype(np.float32), -1, 0)
    blue, red = blue - 2 ** (bits - 1), red - 2 ** (bits - 1)
    colours = [
        light + 1.402 * red,
        light - (0.114 * 1.772 * blue + 0.299 * 1.402 * red) / 0.587,
        light + 1.772 * blue,
    ]
    return np.clip(np.rint(np.stack(colours, axis=-1)), 0, 2**bits - 1).astype(values.dtype)
