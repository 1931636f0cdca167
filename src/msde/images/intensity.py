"""The intensity rule: how stored samples become floats in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.files import guarded
from msde.images.rule import ImageRule
from msde.images.samples import Ends, Samples, check_size

PERCENTILES = (0.5, 99.5)

_WHITE = {"b1": 1.0, "u1": 255.0, "u2": 65535.0, "f2": 1.0, "f4": 1.0, "f8": 1.0, "f16": 1.0}


def stated_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Give the black and white that a type states: white is 255, 65535, in bool and float 1, else infinite."""
    white = _WHITE.get(dtype.str[1:], math.inf)
    return (0.0 if math.isfinite(white) else -math.inf), white


def array_samples(values: NDArray[Any], name: str) -> Samples:
    """Check that an array is an image, and give it the range that its type states.

    Parameters
    ----------
    values : ndarray of shape (H, W) or (H, W, C), C in 1..4
        Bool, integer or float.
    name : str
        What an error calls the image.

    Raises
    ------
    ImageError
        A shape that is no image, a size outside the limits, or a type that is no real number.
    """
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f"{name}: is no image; give (height, width) or (height, width, channels), 1 to 4 channels")
    check_size(values.shape[1], values.shape[0], name)
    if values.dtype.kind not in "biuf":
        raise _no_range(values, name)
    return Samples(values, *stated_range(values.dtype))


def to_pixels(samples: Samples, rule: ImageRule, name: str) -> NDArray[np.float32]:
    """Scale samples as a rule says and put them over black.

    Parameters
    ----------
    samples : Samples
        As decoded.
    rule : ImageRule
        Which values become black and white.
    name : str
        What an error calls the image.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3), float32
        Pixels in [0, 1]. One correctly rounded division makes each where the values are whole numbers, so that equal
        pictures in 8 bits, 16 bits and floats give equal bits.

    Raises
    ------
    ImageError
        Values that are not finite, or under ``full-range`` lie outside the range or have none.
    """
    with guarded(name, "medical"):
        return _scaled(samples, rule, name)


def pixel_bands(samples: Samples, rule: ImageRule, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
    """Scale samples as `to_pixels` does, some rows after the other, so that all of them are never in memory as floats.

    Raises
    ------
    ImageError
        As `to_pixels`.
    """
    with guarded(name, "medical"):
        yield from _bands(samples, rule, name, rows)


def shown(samples: Samples, rule: ImageRule, name: str) -> Ends:
    """Find what a rule shows of samples.

    Parameters
    ----------
    samples : Samples
        Without alpha.
    rule : ImageRule
        Which values become black and white.
    name : str
        What an error calls the image.

    Returns
    -------
    Ends
        The values, or what a table of the file makes of them, with the lower and the upper end of what is shown.

    Raises
    ------
    ImageError
        As `to_pixels`.
    """
    with guarded(name, "medical"):
        return _shown(samples, rule, name)


def filled(samples: Samples) -> Samples:
    """Return the background the darkest value of the picture, so that all values are of the picture."""
    if samples.background is None:
        return samples
    if samples.background.all():
        return Samples(np.zeros_like(samples.values), 0.0, 1.0)
    seen = samples.seen()
    darkest = seen.max() if samples.black > samples.white else seen.min()
    values = samples.values.copy()
    values[samples.background] = darkest
    return samples._replace(values=values)


def _scaled(samples: Samples, rule: ImageRule, name: str) -> NDArray[np.float32]:
    (pixels,) = _bands(samples, rule, name, len(samples.values))
    return pixels


def _bands(samples: Samples, rule: ImageRule, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
    values, background = samples.values, samples.background
    cuts = [slice(top, top + rows) for top in range(0, len(values), rows)]
    if background is not None and background.all():
        yield from (np.zeros(background[cut].shape, np.float32) for cut in cuts)
        return
    samples = filled(samples)
    values, black, white = samples[:3]
    if values.dtype.kind == "f" and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise ImageError(f"{name}: holds NaN or infinite samples; replace them, for example by 0")
    alpha = None
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1:]
        samples = samples._replace(values=values[..., :-1])
    seen, low, high = _shown(samples, rule, name)
    for cut in cuts:
        pixels = _linear((seen[cut], low, high), inverted=black > white)
        if alpha is not None:
            pixels *= _linear((alpha[cut], black, white), inverted=False)
        if background is not None:
            pixels[background[cut]] = 0
        yield pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _shown(samples: Samples, rule: ImageRule, name: str) -> Ends:
    values, black, white, display, background = samples
    if rule.intensity == "percentile":
        display = percentiles
    if rule.intensity.startswith("window:"):
        ends = (values, *rule.window())
    elif display is not None and rule.intensity in ("dicom", "percentile"):
        ends = display(values)
        if background is not None:
            ends = (ends[0], *display(samples.seen())[1:])
    else:
        _check_range(values, black, white, name)
        ends = (values, min(black, white), max(black, white))
    if not math.isfinite(ends[2] - ends[1]):
        raise ImageError(f"{name}: its samples span more than can be told apart; give another intensity rule")
    return ends


def percentiles(values: NDArray[Any]) -> Ends:
    """Take a picture's own 0.5th and 99.5th percentile, over all its channels, for the ends.

    They are values of the picture, not means of two, so that they are the same in every type.
    """
    low, high = np.percentile(values, PERCENTILES, method="nearest")
    return values, float(low), float(high)


def _linear(ends: Ends, *, inverted: bool) -> NDArray[np.float32]:
    """Map the lower end to 0 and the upper to 1, or the other way round; where they meet, only what is above is 1."""
    values, low, high = ends
    pixels: NDArray[np.float32]
    if not high > low:
        pixels = ((values <= low) if inverted else (values > low)).astype(np.float32)
        return pixels
    # 32-bit floats hold smaller whole numbers exactly; beyond, and for tiny ranges, they lose or overflow.
    exact = max(abs(low), abs(high)) <= 2**24 and high - low > 1e-30
    kind: dict[str, Any] = {"dtype": np.float32 if exact else np.float64, "casting": "same_kind"}
    with np.errstate(all="ignore"):  # what overflows is beyond the ends
        if inverted:
            pixels = np.subtract(high, values, **kind)
        elif low != 0:
            pixels = np.subtract(values, low, **kind)
        else:
            pixels = values
        pixels = np.divide(pixels, high - low, **kind)
    if not (values.dtype == np.uint8 and low <= 0 and high >= 255):  # nothing of the usual picture lies beyond
        np.clip(pixels, 0, 1, out=pixels)
    return pixels.astype(np.float32, copy=False)


def _check_range(values: NDArray[Any], black: float, white: float, name: str) -> None:
    if not math.isfinite(white - black):
        raise _no_range(values, name)
    if values.dtype.kind != "f":
        return
    (low, high), (bottom, top) = (values.min(), values.max()), sorted((black, white))
    if low < bottom or high > top:
        raise ImageError(
            f"{name}: float samples span {low:.4g} to {high:.4g}, outside [{bottom:.4g}, {top:.4g}]; divide all by one"
            " fixed maximum, or fit with another intensity rule"
        )


def _no_range(values: NDArray[Any], name: str) -> ImageError:
    return ImageError(
        f"{name}: samples of type {values.dtype} have no stated range; give uint8, uint16 or floats in [0, 1], or fit"
        " with the intensity rule percentile or window:LOW,HIGH"
    )
