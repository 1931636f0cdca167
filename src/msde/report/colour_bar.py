"""What the colours of the overlays mean."""

from __future__ import annotations

import numpy as np

from msde.heatmaps.colours import LEAST_SHOWN, TICKS, ColourScale, overlaid

_STEPS = 24


def colour_bar(scale: ColourScale) -> str:
    """Draw the bar of the overlays' colours with its units, over black as in a radiograph, as HTML."""
    levels = np.linspace(LEAST_SHOWN, 1, _STEPS, dtype=np.float32)[None]
    colours = overlaid(np.zeros_like(levels), levels)[0]
    stripes = "".join(
        f'<rect x="{10 * step}" width="10" height="12" fill="#{red:02x}{green:02x}{blue:02x}"/>'
        for step, (red, green, blue) in enumerate(colours)
    )
    width = 10 * _STEPS
    places = [(level - LEAST_SHOWN) / (1 - LEAST_SHOWN) for level in TICKS]
    texts = "".join(
        f'<text x="{round(width * place)}" y="24" text-anchor="{anchor}">{text}</text>'
        for place, anchor, text in zip(places, ("start", "middle", "end"), TICKS.values(), strict=True)
    )
    legend = scale.legend()
    return (
        f'<p class="legend of-overlays">Overlay: {legend[0].lower()}{legend[1:]}.</p>\n'
        f'<svg class="colours of-overlays" viewBox="0 0 {width} 28" width="{width}" height="28" role="img"'
        f' aria-label="Colours from 1 in 100 to 1 in 10,000">{stripes}{texts}</svg>\n'
    )
