"""One fixed scale for all heat maps: how rare a place as odd as this one is in held-out normals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.feature_maps import SIDE
from msde.heatmaps.foreground import Mask, resampled
from msde.heatmaps.resample import enlarged

Floats = NDArray[np.float32]

DECADES = 4
"""Heat 1 stands for one place in 10 ** DECADES of the normals, and for rarer ones."""

_MEASURED = 3  # decades that held-out normals can show
_STEPS = 32  # of the ladder in a decade
_FLOOR = -2.0
_LEAST = 1e-6
_ROUNDING = 1e-9


@dataclass(frozen=True)
class HeatScale:
    """Scales of the k single kinds of evidence, and that of their sum."""

    middle: Floats  # (k,): median of each kind of evidence in held-out normals
    width: Floats  # (k,): how far above it the highest tenth begins
    ladder: Floats  # (97,): sums that a share of 10 ** (-step / 32) of the area of held-out normals exceeds, ascending
    peaks: Floats | None = None  # (n,): heat, not cut off at 1, of the hottest place of each held-out normal, ascending

    def __post_init__(self) -> None:
        """Refuse what is no scale, such as values of a damaged model file."""
        if self.ladder.shape != (_STEPS * _MEASURED + 1,) or not (np.diff(self.ladder) >= 0).all():
            raise ValueError("the ladder of the heat maps' scale must have 97 ascending values")
        if self.middle.ndim != 1 or self.middle.shape != self.width.shape or not (self.width > 0).all():
            raise ValueError("the evidence of heat maps must have a median and a positive width for each kind")
        if self.peaks is not None and (self.peaks.ndim != 1 or not (np.diff(self.peaks) >= 0).all()):
            raise ValueError("the hottest places of the heat maps' normals must ascend")

    @classmethod
    def fit(cls, evidence: Sequence[Floats], foreground: Mask | None = None) -> HeatScale:
        """Measure the evidence against held-out normals.

        Parameters
        ----------
        evidence : sequence of ndarray of shape (n, h, w)
            Of each kind.
        foreground : ndarray of shape (n, 56, 56), optional
            The places that count; by default all.
        """
        counted = [maps[_mask(foreground, maps.shape)] for maps in evidence]
        middle, high = np.array([np.quantile(values, [0.5, 0.9]) for values in counted], np.float32).T
        width = np.maximum(high - middle, np.float32(_LEAST))
        exceeding = 10.0 ** (-np.arange(_STEPS * _MEASURED + 1) / _STEPS)
        sums = _sum(evidence, middle, width)
        seen = _mask(foreground, sums.shape)
        scale = cls(middle, width, np.quantile(sums[seen], 1 - exceeding).astype(np.float32))
        return replace(scale, peaks=np.sort((scale._rarity(sums) * seen).max(axis=(1, 2))))

    def heat(self, evidence: Sequence[Floats], foreground: Mask | None = None, cut: bool = True) -> Floats:
        """Turn evidence, k maps of shape (n, h, w), into heat (n, 56, 56) in [0, 1], 0 outside of a foreground.

        That is -log10(p) / 4, p being the share of the area of held-out normals that is at least as odd: 0.25 stands
        for one place in ten, 0.5 for one in a hundred. Beyond 0.75, one in a thousand, it goes on along the line of the
        last decade, for rarer places cannot be counted; not cut off at 1 where that is not wanted.
        """
        heat = self._rarity(_sum(evidence, self.middle, self.width))
        heat = np.minimum(heat, np.float32(1)) if cut else heat
        return heat if foreground is None else heat * foreground

    def peak(self, share: float) -> tuple[float, float]:
        """Return the heat that the hottest place of a new normal image exceeds with at most this probability.

        And that probability: of too few held-out normals it is the smallest that can be told, 1 / (n + 1). Both are 1
        where none were held out.
        """
        n = 0 if self.peaks is None else len(self.peaks)
        if self.peaks is None or not n:
            return 1.0, 1.0
        rank = max(1, int(share * (n + 1) + _ROUNDING))
        return float(self.peaks[-rank]), max(share, 1 / (n + 1))

    def _rarity(self, sums: Floats) -> Floats:
        """Return heat that is not cut off at 1."""
        rarity = np.interp(sums, self.ladder, np.arange(len(self.ladder)) / _STEPS)
        top, decade = self.ladder[-1], max(self.ladder[-1] - self.ladder[-1 - _STEPS], _LEAST)
        rarity += np.maximum(sums - top, 0) / decade
        return (rarity / DECADES).astype(np.float32)


def _mask(foreground: Mask | None, shape: tuple[int, ...]) -> Mask:
    """Return which places count, on the grid of maps of a shape (n, h, w); all where there is no foreground at all."""
    if foreground is None or not foreground.any():
        return np.ones(shape, np.bool_)
    return resampled(foreground, (shape[1], shape[2]))


def _sum(evidence: Sequence[Floats], middle: Floats, width: Floats) -> Floats:
    total = np.zeros((len(evidence[0]), SIDE, SIDE), np.float32)
    for maps, centre, unit in zip(evidence, middle, width, strict=True):
        total += enlarged(np.maximum((maps - centre) / unit, np.float32(_FLOOR)), SIDE)
    return total
