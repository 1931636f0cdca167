"""How far a token points from the nearest of those that normals have.

After Damm, Laszkiewicz, Lederer, Fischer, "AnomalyDINO" (WACV 2025, arXiv 2405.14529), whose memory holds every token;
here they are moved together to their modes, so that memory does not grow with the normals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.patch_prototypes import SHIFTED, PatchPrototypes
from msde.heatmaps.unit_tokens import UnitTokens
from msde.method.arrays import IndexArray, unit

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class UnitModes:
    """Directions of normal tokens."""

    modes: PatchPrototypes  # of unit length

    @classmethod
    def fit(cls, seen: UnitTokens, folds: Sequence[IndexArray], masked: bool) -> tuple[Self, list[Floats]]:
        """Fit normals, and measure those of each fold by a fit to the others."""
        chosen = list(seen.chosen(np.arange(len(seen.tokens)), SHIFTED, masked))
        images = np.repeat(np.arange(len(chosen)), list(map(len, chosen)))
        modes, without = PatchPrototypes.cross_fitted(np.concatenate(chosen), images, folds)
        held_out = [cls._of(left).evidence(seen.taken(rows))[0] for left, rows in zip(without, folds, strict=True)]
        return cls._of(modes), [np.concatenate(held_out)]

    @classmethod
    def _of(cls, modes: PatchPrototypes) -> Self:
        return cls(PatchPrototypes(unit(modes.rows.astype(np.float32)).astype(np.float16)))

    def evidence(self, seen: UnitTokens) -> list[Floats]:
        """Measure images: one map (n, h, w) of distances from the nearest modes, in [0, 2]."""
        parts = [self.modes.distances(tokens[None].astype(np.float32)) for tokens in seen.tokens]
        return [np.concatenate(parts) if parts else np.empty(seen.tokens.shape[:3], np.float32)]

    def thinned(self) -> Self:
        """Return itself: it knows of no place."""
        return self

    def blank(self, channels: tuple[int, int]) -> UnitTokens:
        """Return an image of nothing; see `UnitTokens.blank`."""
        return UnitTokens.blank(channels)
