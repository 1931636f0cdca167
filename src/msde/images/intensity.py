"""The intensity rule: how stored samples become floats in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.samples import Samples, check_size

_WHITE = {"b1": 1.0, "u1": 255.0, "u2": 65535.0, "f2": 1.0, "f4": 1.0, "f8": 1.0, "f16": 1.0}


def stated_range(values: NDArray[Any], name: str) -> Samples:
    """Check that an array is an image, and give it the range that its type states.

    Parameters
    ----------
    values : ndarray of shape (H, W) or (H, W, C), C in 1..4
        White is 1 in bool and float, 255 in uint8, 65535 in uint16.
    name : str
        What an error calls the image.

    Raises
    ------
    ImageError
        A shape that is no image, a size outside the limits, or a type that states no range (signed or wider integers).
    """
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f"{name}: is no image; give (height, width) or (height, width, channels), 1 to 4 channels")
    check_size(values.shape[1], values.shape[0], name)
    white = _WHITE.get(values.dtype.str[1:])
    if white is None:
        raise ImageError(
            f"{name}: samples of type {values.dtype} have no stated range; give uint8, uint16 or floats in [0, 1]"
        )
    return Samples(values, 0.0, white)


def full_range(samples: Samples, name: str) -> NDArray[np.float32]:
    """Scale samples by the full range of their type and put them over black.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3), float32
        Pixels in [0, 1]. One correctly rounded division makes each, so that equal pictures in 8 bits, 16 bits and
        floats give equal bits.

    Raises
    ------
    ImageError
        Floats that are not finite or lie outside [0, 1].
    """
    values, black, white = samples
    if values.dtype.kind == "f":
        _check_floats(values, name)
    if black > white:
        values = np.subtract(values.dtype.type(black), values)
    pixels: NDArray[np.float32] = np.divide(
        values, np.float32(abs(white - black)), dtype=np.float32, casting="same_kind"
    )
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1] * pixels[..., -1:]
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _check_floats(values: NDArray[Any], name: str) -> None:
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"{name}: holds NaN or infinite samples; replace them, for example by 0")
    if low < 0 or high > 1:
        raise ImageError(
            f"{name}: float samples span {low:.4g} to {high:.4g}, outside [0, 1]; divide all by one fixed maximum"
        )
