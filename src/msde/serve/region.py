"""A region of a gray picture: what its values are, in the file's own unit and at full depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msde.images import Part
from msde.serve.errors import NotFound, ServiceError
from msde.serve.pictures import decoded


@dataclass(frozen=True)
class Region:
    """The values within an ellipse.

    Parameters
    ----------
    pixels : int
        Whose centres lie within it; what the file marks as padding is left out.
    mean, sd, lowest, highest : float
        The standard deviation is that of these pixels, divided by their number.
    """

    pixels: int
    mean: float
    sd: float
    lowest: float
    highest: float


def measured(source: Path | Part, left: float, top: float, right: float, bottom: float) -> Region:
    """Measure the ellipse that fills a box, in pixels from the upper left corner.

    Raises
    ------
    NotFound
        A colour image.
    ServiceError
        No pixel lies within.
    ImageError
        If it cannot be read.
    """
    samples = decoded(source)
    values = samples.values
    if values.ndim != 2:
        raise NotFound("the image is in colour; only gray values are measured")
    rows, columns = (
        slice(max(0, int(np.floor(low))), min(side, int(np.ceil(high))))
        for low, high, side in zip((top, left), (bottom, right), values.shape, strict=True)
    )
    y, x = np.ogrid[rows, columns]
    across, down = _from_middle(x, left, right), _from_middle(y, top, bottom)
    inside = across**2 + down**2 <= 1
    if samples.background is not None:
        inside &= ~samples.background[rows, columns]
    chosen = values[rows, columns][inside].astype(np.float64)
    if not chosen.size or not np.isfinite(chosen).all():
        raise ServiceError("no value lies within the region; draw it larger, and upon the picture")
    return Region(chosen.size, float(chosen.mean()), float(chosen.std()), float(chosen.min()), float(chosen.max()))


def _from_middle(centres: NDArray[np.int_], low: float, high: float) -> NDArray[np.float64]:
    """Return how far the centres of pixels lie from the middle of two ends, in halves of their distance."""
    return (centres + np.float64(0.5 - (low + high) / 2)) / np.float64(max((high - low) / 2, 1e-9))
