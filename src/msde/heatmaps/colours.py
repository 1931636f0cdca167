"""Heat in colours: viridis, which the colour-blind can read, over the picture; calm places show the picture alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LEAST_SHOWN = 0.5
"""Heat at which colour begins: a place as odd as one in a hundred of the normals'."""
LEGEND = "Colour begins where a place is as odd as 1 in 100 of the area of normal images, and is full at 1 in 10,000"
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
_RAMP = 0.1
_BAR_WIDTH, _BAR_MARGIN, _BAR_SIDE = 12, 8, 144
_CAPTION = "of the area\nof normals\n\nResearch\nuse only"
_LINES = 66
_MARK = "Research use only"
_MARK_SHARE = 40  # of a picture's height is the mark's


def overlaid(pixels: Floats, heat: Floats) -> NDArray[np.uint8]:
    """Lay heat (h, w) in [0, 1] over a picture (h, w) or (h, w, 3) in [0, 1]; return RGB (h, w, 3)."""
    picture = 255 * (np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels)
    picture += _opacity(heat)[..., None] * (_colours(heat) - picture)
    return np.rint(picture).astype(np.uint8)


def layer(heat: Floats) -> NDArray[np.uint8]:
    """Draw heat (h, w) in [0, 1] alone, to be laid over any picture; return RGBA (h, w, 4).

    It is opaque where the picture would be hidden; at 60 % it gives what `overlaid` gives.
    """
    opacity = 255 / np.float32(_OPACITY) * _opacity(heat)
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


def with_bar(overlay: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put the colour bar, the same for all images, to the right of an overlay; the overlay's pixels stay as they are.

    Takes (h, w, 3), returns (max(h, 144), w + 100 or so, 3).
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(10)
    height = max(len(overlay), _BAR_SIDE)
    strip = _BAR_MARGIN * 3 + _BAR_WIDTH + max(round(font.getlength(text)) for text in TICKS.values())
    canvas = Image.new("RGB", (overlay.shape[1] + strip, height), "black")
    canvas.paste(Image.fromarray(overlay), (0, 0))
    draw = ImageDraw.Draw(canvas)
    left, top, bottom = overlay.shape[1] + _BAR_MARGIN, _BAR_MARGIN, min(height, 4 * _BAR_SIDE) - _BAR_MARGIN - _LINES
    levels = np.linspace(1, LEAST_SHOWN, bottom - top, dtype=np.float32)[:, None].repeat(_BAR_WIDTH, axis=1)
    canvas.paste(Image.fromarray(overlaid(np.zeros_like(levels), levels)), (left, top))
    for level, text in TICKS.items():
        y = top + (1 - level) / (1 - LEAST_SHOWN) * (bottom - top - 1)
        draw.text((left + _BAR_WIDTH + _BAR_MARGIN, y), text, "white", font, anchor="lm")
    draw.multiline_text((left, bottom + _BAR_MARGIN), _CAPTION, "white", font, spacing=2)
    return np.asarray(canvas)


def _colours(heat: Floats) -> Floats:
    places = np.linspace(LEAST_SHOWN, 1, len(_VIRIDIS))
    return np.stack([np.interp(heat, places, channel) for channel in _VIRIDIS.T], axis=2).astype(np.float32)


def _opacity(heat: Floats) -> Floats:
    return np.clip((heat - LEAST_SHOWN) / _RAMP, 0, 1) * np.float32(_OPACITY)
