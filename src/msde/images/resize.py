"""Resize pixels to a backbone's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_input(
    pixels: NDArray[np.float32], size: int, out: NDArray[np.float32] | None = None, *, aspect: str = "squeeze"
) -> NDArray[np.float32]:
    """Fit pixels to a square with antialiased bilinear interpolation, as the published pipeline does.

    The filter is Pillow's on 32-bit floats: it releases the interpreter lock, starts no threads beside those of the
    backbone, and gives the same bits on every machine. (The published pipeline rounds to 8 bits after it.)

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3), float32
        Pixels in [0, 1].
    size : int
        Side of the square, in pixels.
    out : ndarray of shape (3, size, size), float32, optional
        Where to write, such as one row of a batch.
    aspect : {"squeeze", "letterbox"}, default="squeeze"
        Squeeze the picture into the square, or keep its proportions in the middle of black bars.

    Returns
    -------
    ndarray of shape (3, size, size), float32
        Pixels in [0, 1], channels first; gray is repeated three times.
    """
    from PIL import Image

    if out is None:
        out = np.empty((3, size, size), np.float32)
    height, width = (size, size) if aspect == "squeeze" else _fitting(pixels.shape[0], pixels.shape[1], size)
    top, left = (size - height) // 2, (size - width) // 2
    if (height, width) != (size, size):
        out[:] = 0
    planes = (pixels,) if pixels.ndim == 2 else tuple(pixels[..., c] for c in range(3))
    for channel, plane in enumerate(planes):
        image = Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)
        out[channel, top : top + height, left : left + width] = np.asarray(image)
    out[len(planes) :] = out[0]
    return out


def from_input(grid: NDArray[np.float32], height: int, width: int, *, aspect: str = "squeeze") -> NDArray[np.float32]:
    """Bring what was found on the square of `to_input` back to the picture, with bilinear interpolation.

    Parameters
    ----------
    grid : ndarray of shape (g, g), float32
        Values all over the square.
    height, width : int
        Of the picture, in pixels.
    aspect : {"squeeze", "letterbox"}, default="squeeze"
        As given to `to_input`.

    Returns
    -------
    ndarray of shape (height, width), float32
        Within the range of the grid's values.
    """
    from PIL import Image

    side = len(grid)
    longer = max(height, width)
    across, down = (side * width / longer, side * height / longer) if aspect == "letterbox" else (side, side)
    left, top = (side - across) / 2, (side - down) / 2
    resized = Image.fromarray(grid).resize(
        (width, height), Image.Resampling.BILINEAR, box=(left, top, left + across, top + down)
    )
    return np.asarray(resized)


def _fitting(height: int, width: int, size: int) -> tuple[int, int]:
    """Scale a picture's sides so that the longer one is `size`."""
    longer = max(height, width)
    return max(1, round(height * size / longer)), max(1, round(width * size / longer))
