"""Small copies of pictures as data URIs, which a page holds in itself."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUALITY = 70


@dataclass(frozen=True)
class Thumbnail:
    """A reduced picture, its size in pixels."""

    uri: str  # data:image/webp;base64,...; it holds pixels and nothing else
    width: int
    height: int

    @classmethod
    def of(cls, pixels: NDArray[Any], side: int) -> Thumbnail:
        """Reduce pixels so that the longer side is at most `side`; smaller pictures keep their size.

        They are gray (H, W) or RGB (H, W, 3), floats in [0, 1] or uint8.
        """
        from PIL import Image

        samples = pixels if pixels.dtype == np.uint8 else np.rint(pixels * 255).astype(np.uint8)
        picture = Image.fromarray(samples)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
        file = BytesIO()
        picture.convert("RGB").save(file, "WEBP", quality=QUALITY)
        return cls(f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}", *picture.size)
