"""Images as a browser shows them: PNG of a size, and samples for window and level."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images import ImageRule, Part, read_pixels
from msde.images.files import decode_file
from msde.images.intensity import filled, pixel_bands, shown
from msde.images.measures import Measures, measures_of
from msde.images.samples import Samples, side_of_squares
from msde.model.anomaly_model import AnomalyModel
from msde.model.explanation import Explanation
from msde.serve.errors import NotFound, TooLarge

MOST_SAMPLES = 25_000_000
_LEVELS = 65_535
_ROWS = 256  # that are drawn at a time


@dataclass(frozen=True)
class Shades:
    """Values of a gray image, and which of them are black and white.

    Parameters
    ----------
    values : ndarray of shape (H, W)
        In the file's own unit.
    low, high : float
        The lowest and the highest.
    window : (float, float)
        Black and white by the model's rule; equal to the ends where a table in the file decides.
    bits : int
        Of the type in which they are stored.
    inverted : bool
        Whether the lowest value is white.
    """

    values: NDArray[Any]
    low: float
    high: float
    window: tuple[float, float]
    bits: int
    inverted: bool


def decoded(source: Path | Part) -> Samples:
    """Decode an image; gray ones have no channels.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    path, label = (source.path, source.label) if isinstance(source, Part) else (os.fspath(source), None)
    samples = decode_file(path, str(source), label)
    if samples.values.shape[2:] == (1,):
        return samples._replace(values=samples.values[..., 0])
    return samples


def shades(samples: Samples, rule: ImageRule, name: str) -> Shades | None:
    """Tell the values of a gray image and what of them a rule shows; None for colour."""
    if samples.values.ndim != 2:
        return None
    samples = filled(samples)
    values = samples.values
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    try:
        mapped, *ends = shown(samples, rule, name)
        window = (float(ends[0]), float(ends[1])) if mapped is values else (low, high)
    except ImageError:  # the rule cannot be applied, so there is no score, but there is something to see
        window = (low, high)
    return Shades(values, low, high, window, 8 * values.dtype.itemsize, samples.black > samples.white)


def measures(source: Path | Part) -> Measures:
    """Read how an image is measured."""
    path, label = (source.path, source.label) if isinstance(source, Part) else (os.fspath(source), None)
    return measures_of(path, str(source), label)


def levels(source: Path | Part, rule: ImageRule) -> tuple[Shades, bytes]:
    """Return the values of a gray image as 16-bit numbers, 0 for the lowest and 65535 for the highest, dark first.

    Raises
    ------
    NotFound
        A colour image.
    TooLarge
        More than `MOST_SAMPLES`.
    ImageError
        If it cannot be read.
    """
    found = shades(decoded(source), rule, str(source))
    if found is None:
        raise NotFound("the image is in colour; ask for its picture")
    if found.values.size > MOST_SAMPLES:
        raise TooLarge(f"the image has over {MOST_SAMPLES:,} pixels; ask for its picture")
    span = found.high - found.low
    scaled = (found.values.astype(np.float64) - found.low) * (_LEVELS / span if span > 0 else 0.0)
    return found, np.rint(scaled).astype("<u2").tobytes()


def picture(source: Path | Part, rule: ImageRule, side: int | None, window: tuple[float, float] | None) -> bytes:
    """Draw an image as PNG of 8 bits.

    Parameters
    ----------
    source : Path or Part
    rule : ImageRule
        Of the model.
    side : int or None
        Longest side in pixels; None or more than it has: as it is, or a whole fraction of it that is at most
        `MOST_SAMPLES` pixels.
    window : (float, float) or None
        Values that become black and white; None: the rule's.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    if window is not None:
        rule = ImageRule(f"window:{window[0]!r},{window[1]!r}", rule.aspect)
    return png(_drawn(source, rule), side)


def overlay(source: Path | Part, model: AnomalyModel, side: int | None, *, alone: bool) -> bytes:
    """Draw where an image differs from the normals, as PNG of 8 bits.

    Parameters
    ----------
    source : Path or Part
    model : AnomalyModel
    side : int or None
        As of `picture`.
    alone : bool
        The colours without the image, RGBA.

    Raises
    ------
    NotFound
        If the model cannot tell.
    ImageError
        If the image cannot be read.
    """
    if not model.explains:
        raise NotFound("the model cannot tell where an image differs")
    score = next(iter(model.score_embedded(model.embed([source], model.fitted.heat_maps()))))
    if score.heat is None:
        raise ImageError(score.error or f"{source}: cannot be used")
    if score.shape[0] * score.shape[1] > MOST_SAMPLES:
        pixels = np.divide(_drawn(source, model.rule), 255, dtype=np.float32)
    else:
        pixels = read_pixels(source, model.rule)
    explanation = Explanation.of(score, score.heat, pixels, model.rule, model.colours)
    return png(explanation.layer if alone else explanation.overlay, side)


def _drawn(source: Path | Part, rule: ImageRule) -> NDArray[np.uint8]:
    """Read an image to gray levels or RGB, some rows at a time; what is too large to be shown is made smaller."""
    from PIL import Image

    path, label = (source.path, source.label) if isinstance(source, Part) else (os.fspath(source), None)
    samples = decode_file(path, str(source), label, MOST_SAMPLES)
    height, width = samples.values.shape[:2]
    side, bands = side_of_squares(width, height, MOST_SAMPLES), []
    for pixels in pixel_bands(samples, rule, str(source), side * _ROWS):
        band = np.rint(pixels * 255).astype(np.uint8)
        bands.append(band if side == 1 else np.asarray(Image.fromarray(band).reduce(side)))
    return np.concatenate(bands)


def png(pixels: NDArray[Any], side: int | None) -> bytes:
    """Write pixels, floats in [0, 1] or uint8, gray, RGB or RGBA, as PNG."""
    from PIL import Image

    samples = pixels if pixels.dtype == np.uint8 else np.rint(pixels * 255).astype(np.uint8)
    drawn = Image.fromarray(samples)
    if side is not None:
        drawn.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
    file = BytesIO()
    drawn.save(file, "PNG", compress_level=3)
    return file.getvalue()
