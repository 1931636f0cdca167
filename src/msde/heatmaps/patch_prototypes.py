"""Normal patches of any place, compressed by mean shift to their modes, and the distance from the nearest of them.

After Roth et al., "PatchCore" (CVPR 2022), whose memory is a greedy coreset; docs/heatmaps.md compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import IndexArray, evenly_spaced

Floats = NDArray[np.float32]

KEPT = 1000
NEAREST = 3
SHIFTED = 4000
_NEIGHBORS = 5
_RANKED = 15  # enough for most patches to have five neighbours left without a fold
_RATE = np.float32(0.33)  # of the way to the mean of the neighbours


@dataclass(frozen=True)
class PatchPrototypes:
    """What normal patches look like."""

    rows: NDArray[np.float16]  # (m, q): modes

    @classmethod
    def fit(cls, maps: Floats) -> PatchPrototypes:
        """Shift patches of maps (n, h, w, q), evenly spaced, and keep 1,000 of the places where they end."""
        return cls.cross_fitted(*spread_patches(maps), [])[0]

    @classmethod
    def cross_fitted(
        cls, patches: Floats, images: IndexArray, folds: Sequence[IndexArray]
    ) -> tuple[PatchPrototypes, list[PatchPrototypes]]:
        """Shift patches (m, q) of numbered images (m,), and for each fold those of the images that it leaves.

        This is two steps of :func:`msde.method.mean_shift.shift` with five neighbours. Neighbours before the first step
        are searched once for all folds, and the second step is taken by those alone that are kept.
        """
        from msde.method.neighbors.exact import ExactIndex  # not needed to score

        k = min(_NEIGHBORS, len(patches))
        _, nearest = ExactIndex.build(patches).query_distances(patches, min(_RANKED, len(patches)))

        def fitted(stays: NDArray[np.bool_]) -> PatchPrototypes:
            rows = np.flatnonzero(stays)
            there = stays[nearest[rows]]
            first = np.take_along_axis(nearest[rows], np.argsort(~there, axis=1, kind="stable")[:, :k], axis=1)
            lacking = np.flatnonzero(np.count_nonzero(there, axis=1) < k)
            if len(lacking):
                anew = ExactIndex.build(patches[rows]).query(patches[rows[lacking]], k)
                first = first[:, : anew.shape[1]]
                first[lacking] = rows[anew]
            moved = _towards(patches[rows], patches[first])
            kept = evenly_spaced(len(moved), KEPT)
            second = ExactIndex.build(moved).query(moved[kept], k)
            return cls(_towards(moved[kept], moved[second]).astype(np.float16))

        return fitted(np.ones(len(patches), np.bool_)), [fitted(~np.isin(images, rows)) for rows in folds]

    def distances(self, maps: Floats) -> Floats:
        """Measure the mean distance (n, h, w) of maps (n, h, w, q) from the three nearest modes."""
        rows, squares = self._single
        patches = maps.reshape(-1, maps.shape[-1])
        squared = np.einsum("ij,ij->i", patches, patches)[:, None] + squares - 2 * (patches @ rows.T)
        nearest = np.partition(squared, min(NEAREST, len(rows)) - 1, axis=1)[:, :NEAREST]
        return np.asarray(np.sqrt(np.maximum(nearest, 0)).mean(axis=1).reshape(maps.shape[:3]))

    @cached_property
    def _single(self) -> tuple[Floats, Floats]:
        rows = self.rows.astype(np.float32)
        return rows, np.einsum("ij,ij->i", rows, rows)


def spread_patches(maps: Floats) -> tuple[Floats, IndexArray]:
    """Return at most 4,000 patches (m, q) of maps (n, h, w, q), evenly spaced, and the number of each one's image."""
    patches = maps.reshape(-1, maps.shape[-1])
    chosen = evenly_spaced(len(patches), SHIFTED)
    return patches[chosen], chosen // (maps.shape[1] * maps.shape[2])


def _towards(rows: Floats, neighbors: Floats) -> Floats:
    """Move rows (m, q) towards the means of their neighbours (m, k, q)."""
    return rows + _RATE * (neighbors.mean(axis=1) - rows)
