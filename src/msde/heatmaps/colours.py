"""Heat in colours: viridis, which the colour-blind can read, over the picture; calm places show the picture alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.scale import DECADES

Floats = NDArray[np.float32]

LEAST_SHOWN = 0.5
"""Heat at which colour begins at the earliest: a place as odd as one in a hundred of the normals'."""
TICKS = {0.5: "1 in 100", 0.75: "1 in 1,000", 1.0: "1 in 10,000"}

# Nine of the map's colours (S. van der Walt, N. Smith, 2015, CC0); those between them are interpolated.
_VIRIDIS = np.array(
    [
        (68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140),
        (40, 174, 128), (94, 201, 98), (173, 220, 48), (253, 231, 37),
    ],
    np.float32,
)  # fmt: skip
_OPACITY = 0.6
_BAND = 2**18  # pixels
_RAMP = 0.1
_BAR_WIDTH, _BAR_MARGIN, _BAR_SIDE = 12, 8, 78
_CAPTION = "of the area\nof normals\n\n{}Research\nuse only"
_CALM = "Normal images\nwith any colour:\nat most {:.1%}\n\n"
_LINE = 14
_MARK = "Research use only"
_MARK_SHARE = 40  # of a picture's height is the mark's


@dataclass(frozen=True)
class ColourScale:
    """Where colour begins: early in images that stand out as wholes, late in the others.

    Parameters
    ----------
    onset : float
        Heat above which a place is coloured, in [`LEAST_SHOWN`, 1]; at 1 none is.
    calm : float, optional
        Share of normal images that show any colour at most, in (0, 1); None where that was not measured.
    p_value : float
        Images with at most this p-value show colour from `LEAST_SHOWN` on.
    """

    onset: float = LEAST_SHOWN
    calm: float | None = None
    p_value: float = 0.0

    def begins(self, p_value: float) -> float:
        """Return the heat above which places of an image with this p-value are coloured; it may be NaN."""
        return LEAST_SHOWN if p_value <= self.p_value else self.onset

    def legend(self) -> str:
        """Return what the colours mean."""
        full = "and is full at 1 in 10,000"
        begins = "Colour begins where a place is as odd as 1 in 100 of the area of normal images"
        if self.calm is None:
            return f"{begins}, {full}"
        later = f"at 1 in {round(float(f'{10 ** (DECADES * self.onset):.2g}')):,}" if self.onset < 1 else "nowhere"
        return (
            f"{begins} in images with a p-value of at most {self.p_value:g}, {later} in others, {full}; at most"
            f" {self.calm:.1%} of normal images show any"
        )


def overlaid(pixels: Floats, heat: Floats, onset: float = LEAST_SHOWN) -> NDArray[np.uint8]:
    """Lay heat (h, w) in [0, 1] over a picture (h, w) or (h, w, 3) in [0, 1]; return RGB (h, w, 3)."""
    laid = np.empty((*heat.shape, 3), np.uint8)
    rows = max(1, _BAND // heat.shape[1])
    for top in range(0, len(heat), rows):  # because floats of three colours, again and again, are much of a large one
        band = slice(top, top + rows)
        laid[band] = _laid(pixels[band], heat[band], onset)
    return laid


def _laid(pixels: Floats, heat: Floats, onset: float) -> NDArray[np.uint8]:
    picture = 255 * (np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels)
    opacity = _opacity(heat, onset)
    shown = opacity > 0  # few places of most pictures
    picture[shown] += opacity[shown][:, None] * (_colours(heat[shown]) - picture[shown])
    return np.rint(picture, out=picture).astype(np.uint8)


def layer(heat: Floats, onset: float = LEAST_SHOWN) -> NDArray[np.uint8]:
    """Draw heat (h, w) in [0, 1] alone, to be laid over any picture; return RGBA (h, w, 4).

    It is opaque where the picture would be hidden; at 60 % it gives what `overlaid` gives.
    """
    opacity = 255 / np.float32(_OPACITY) * _opacity(heat, onset)
    return np.rint(np.dstack([_colours(heat), opacity])).astype(np.uint8)


def marked(overlay: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write the mark of research use into the lower left corner, for pictures that leave the program's own pages.

    In a picture too small for the mark its end is cut off.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(overlay)
    size = max(9, len(overlay) // _MARK_SHARE)
    place = (size // 3, len(overlay) - size // 3)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(picture).text(place, _MARK, "white", font, anchor="ld", stroke_width=1, stroke_fill="black")
    return np.asarray(picture)


def with_bar(overlay: NDArray[np.uint8], onset: float = LEAST_SHOWN, calm: float | None = None) -> NDArray[np.uint8]:
    """Put the colour bar to the right of an overlay, dark where nothing is coloured; the overlay's pixels stay.

    Takes (h, w, 3), returns (max(h, 200), w + 110 or so, 3).
    """
    strip = _strip(len(overlay), onset, calm)
    canvas = np.zeros((len(strip), overlay.shape[1] + strip.shape[1], 3), np.uint8)
    canvas[: len(overlay), : overlay.shape[1]] = overlay
    canvas[:, overlay.shape[1] :] = strip
    return canvas


@lru_cache(32)  # pictures of a series are of one size, and writing takes as long as reading one of them
def _strip(height: int, onset: float, calm: float | None) -> NDArray[np.uint8]:
    """Draw the colour bar with its caption, as high as a picture or higher."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(10)
    caption = _CAPTION.format("" if calm is None else _CALM.format(calm))
    below = _LINE * (1 + caption.count("\n"))
    height = max(height, _BAR_SIDE + below)
    texts = (font.getlength(line) for line in (*caption.splitlines(), *TICKS.values()))
    canvas = Image.new("RGB", (_BAR_MARGIN * 3 + _BAR_WIDTH + round(max(texts)), height), "black")
    draw = ImageDraw.Draw(canvas)
    left, top, bottom = _BAR_MARGIN, _BAR_MARGIN, min(height, 4 * _BAR_SIDE) - _BAR_MARGIN - below
    levels = np.linspace(1, LEAST_SHOWN, bottom - top, dtype=np.float32)[:, None].repeat(_BAR_WIDTH, axis=1)
    canvas.paste(Image.fromarray(overlaid(np.zeros_like(levels), levels, onset)), (left, top))
    for level, text in TICKS.items():
        y = top + (1 - level) / (1 - LEAST_SHOWN) * (bottom - top - 1)
        draw.text((left + _BAR_WIDTH + _BAR_MARGIN, y), text, "white", font, anchor="lm")
    draw.multiline_text((left, bottom + _BAR_MARGIN), caption, "white", font, spacing=2)
    return np.asarray(canvas)


def _colours(heat: Floats) -> Floats:
    places = np.linspace(LEAST_SHOWN, 1, len(_VIRIDIS))
    return np.stack([np.interp(heat, places, channel) for channel in _VIRIDIS.T], axis=-1).astype(np.float32)


def _opacity(heat: Floats, onset: float) -> Floats:
    return np.clip((heat - np.float32(onset)) / _RAMP, 0, 1) * np.float32(_OPACITY)
