"""Resize pixels to a backbone's input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image


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
    height, width = _fitting(pixels.shape[:2], size, aspect)
    resized = [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in _planes(pixels)]
    _put(resized, out)
    return out


def fit_bands(
    bands: Iterable[NDArray[np.float32]], shape: tuple[int, int], squares: Sequence[NDArray[np.float32]], aspect: str
) -> float:
    """Fit a picture that comes some rows at a time to squares, each as `to_input` does with all of it.

    Pillow's filter is two: one along rows, each by itself, and one along columns. The first is done band by band here,
    and only what it leaves, as wide as a square, is kept for the second. Where a picture is much higher than wide,
    Pillow may take them in the other order, and the last bit of a pixel may be another.

    Parameters
    ----------
    bands : iterable of ndarray of shape (h, W) or (h, W, 3), float32
        Pixels in [0, 1], from the top.
    shape : (int, int)
        Height and width of the picture.
    squares : sequence of ndarray of shape (3, size, size), float32
        Where to write.
    aspect : {"squeeze", "letterbox"}
        As `to_input` takes it.

    Returns
    -------
    float
        The brightest pixel.
    """
    from PIL import Image

    fitted = [_fitting(shape, square.shape[1], aspect) for square in squares]
    narrowed: list[list[list[NDArray[np.float32]]]] = [[] for _ in squares]
    peak = 0.0
    for band in bands:
        peak = max(peak, float(band.max()))
        planes = [Image.fromarray(plane) for plane in _planes(band)]
        for (_, width), parts in zip(fitted, narrowed, strict=True):
            rows = (plane.resize((width, len(band)), Image.Resampling.BILINEAR) for plane in planes)
            parts.append([np.asarray(narrow) for narrow in rows])
    for square, (height, width), parts in zip(squares, fitted, narrowed, strict=True):
        whole = (Image.fromarray(np.concatenate(of_plane)) for of_plane in zip(*parts, strict=True))
        _put([plane.resize((width, height), Image.Resampling.BILINEAR) for plane in whole], square)
    return peak


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


def _fitting(shape: tuple[int, ...], size: int, aspect: str) -> tuple[int, int]:
    """Return height and width of a picture in a square; in a letterbox its longer side is the square's."""
    if aspect == "squeeze":
        return size, size
    height, width = shape
    longer = max(height, width)
    return max(1, round(height * size / longer)), max(1, round(width * size / longer))


def _planes(pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [pixels] if pixels.ndim == 2 else [pixels[..., channel] for channel in range(3)]


def _put(planes: Sequence[Image], square: NDArray[np.float32]) -> None:
    """Write planes, one or three, into the middle of a square."""
    size, (width, height) = square.shape[1], planes[0].size
    top, left = (size - height) // 2, (size - width) // 2
    if (height, width) != (size, size):
        square[:] = 0
    for channel, plane in enumerate(planes):
        square[channel, top : top + height, left : left + width] = np.asarray(plane)
    square[len(planes) :] = square[0]
