"""A score beside the scores of held-out normals, as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from msde.method.calibration import Calibration

WIDTH, HEIGHT = 240, 48
BINS = 30
BEYOND = 0.6
_FLOOR = HEIGHT - 1


@dataclass(frozen=True)
class Histogram:
    """The scores of held-out normals, at least one, with the threshold, and a place for a score among them.

    `name` is the identifier of the drawing in the page.
    """

    calibration: Calibration
    name: str

    @cached_property
    def span(self) -> tuple[float, float]:
        """Scores at the two ends: all the normals, the threshold, and as much again as `BEYOND` says."""
        scores, threshold = self.calibration.scores, self.calibration.threshold
        low, high = float(scores[0]), float(scores[-1])
        high = max(high, threshold) if math.isfinite(threshold) else high
        width = (high - low) or max(abs(high), 1.0)
        return low - 0.02 * width, high + BEYOND * width

    def place(self, score: float) -> float:
        """Return where a score stands, in [0, WIDTH]; scores beyond the ends stand at them."""
        low, high = self.span
        return round(min(max((score - low) / (high - low), 0.0), 1.0) * WIDTH, 1)

    def symbol(self) -> str:
        """Draw bars and threshold once, for `marked` to refer to."""
        counts, edges = np.histogram(self.calibration.scores, bins=BINS, range=self.span)
        left, step = [self.place(edge) for edge in edges[:-1]], WIDTH / BINS
        tops = counts / counts.max() * (HEIGHT - 6)
        bars = "".join(
            f'<rect x="{x}" y="{_FLOOR - top:.1f}" width="{step - 1:.1f}" height="{top:.1f}"/>'
            for x, top in zip(left, tops, strict=True)
            if top
        )
        threshold = self.calibration.threshold
        line = ""
        if math.isfinite(threshold):
            x = self.place(threshold)
            line = f'<line class="threshold" x1="{x}" x2="{x}" y1="0" y2="{_FLOOR}"/>'
        floor = f'<line class="floor" x1="0" x2="{WIDTH}" y1="{_FLOOR}" y2="{_FLOOR}"/>'
        return (
            f'<symbol id="{self.name}" viewBox="0 0 {WIDTH} {HEIGHT}"><g class="bars">{bars}</g>{floor}{line}</symbol>'
        )

    def marked(self, score: float) -> str:
        """Draw the normals with a score among them."""
        x = self.place(score)
        mark = f'<path class="mark" d="M{x} {_FLOOR}V8"/><path class="head" d="M{x - 4:.1f} 1h8l-4 7z"/>'
        if x >= WIDTH:  # an arrow: further to the right
            mark = f'<path class="mark" d="M{x - 22} 12h16"/><path class="head" d="M{x - 7} 7l7 5l-7 5z"/>'
        return (
            f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
            f'<use href="#{self.name}" width="{WIDTH}" height="{HEIGHT}"/>{mark}</svg>'
        )
