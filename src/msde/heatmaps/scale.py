"""One fixed scale for all heat maps: how rare a place as odd as this one is in held-out normals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.feature_maps import SIDE
from msde.heatmaps.resample import enlarged

Floats = NDArray[np.float32]

DECADES = 4
"""Heat 1 stands for one place in 10 ** DECADES of the normals, and for rarer ones."""

_MEASURED = 3  # decades that held-out normals can show
_STEPS = 32  # of the ladder in a decade
_FLOOR = -2.0
_LEAST = 1e-6


@dataclass(frozen=True)
class HeatScale:
    """Scales of the k single kinds of evidence, and that of their sum."""

    middle: Floats  # (k,): median of each kind of evidence in held-out normals
    width: Floats  # (k,): how far above it the highest tenth begins
    ladder: Floats  # (97,): sums that a share of 10 ** (-step / 32) of the area of held-out normals exceeds, ascending

    def __post_init__(self) -> None:
        """Refuse what is no scale, such as values of a damaged model file."""
        if self.ladder.shape != (_STEPS * _MEASURED + 1,) or not (np.diff(self.ladder) >= 0).all():
            raise ValueError("the ladder of the heat maps' scale must have 97 ascending values")
        if self.middle.ndim != 1 or self.middle.shape != self.width.shape or not (self.width > 0).all():
            raise ValueError("the evidence of heat maps must have a median and a positive width for each kind")

    @classmethod
    def fit(cls, evidence: Sequence[Floats]) -> HeatScale:
        """Measure the evidence against held-out normals: k maps of shape (n, h, w)."""
        middle, high = np.array([np.quantile(maps, [0.5, 0.9]) for maps in evidence], np.float32).T
        width = np.maximum(high - middle, np.float32(_LEAST))
        exceeding = 10.0 ** (-np.arange(_STEPS * _MEASURED + 1) / _STEPS)
        return cls(middle, width, np.quantile(_sum(evidence, middle, width), 1 - exceeding).astype(np.float32))

    def heat(self, evidence: Sequence[Floats]) -> Floats:
        """Turn evidence, k maps of shape (n, h, w), into heat (n, 56, 56) in [0, 1].

        That is -log10(p) / 4, p being the share of the area of held-out normals that is at least as odd: 0.25 stands
        for one place in ten, 0.5 for one in a hundred. Beyond 0.75, one in a thousand, it goes on along the line of the
        last decade, for rarer places cannot be counted.
        """
        sums = _sum(evidence, self.middle, self.width)
        rarity = np.interp(sums, self.ladder, np.arange(len(self.ladder)) / _STEPS)
        top, decade = self.ladder[-1], max(self.ladder[-1] - self.ladder[-1 - _STEPS], _LEAST)
        rarity += np.maximum(sums - top, 0) / decade
        return np.minimum(rarity / DECADES, 1).astype(np.float32)


def _sum(evidence: Sequence[Floats], middle: Floats, width: Floats) -> Floats:
    total = np.zeros((len(evidence[0]), SIDE, SIDE), np.float32)
    for maps, centre, unit in zip(evidence, middle, width, strict=True):
        total += enlarged(np.maximum((maps - centre) / unit, np.float32(_FLOOR)), SIDE)
    return total
