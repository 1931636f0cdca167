"""Normal patches of any place, compressed by mean shift to their modes, and the distance from the nearest of them.

After Roth et al., "PatchCore" (CVPR 2022), whose memory is a greedy coreset; docs/heatmaps.md compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import evenly_spaced

Floats = NDArray[np.float32]

KEPT = 1000
NEAREST = 3
SHIFTED = 4000
_NEIGHBORS = 5
_STEPS = 2


@dataclass(frozen=True)
class PatchPrototypes:
    """What normal patches look like."""

    rows: NDArray[np.float16]  # (m, q): modes

    @classmethod
    def fit(cls, maps: Floats) -> PatchPrototypes:
        """Shift patches of maps (n, h, w, q), evenly spaced, and keep 1,000 of the places where they end."""
        from msde.method.mean_shift import shift  # not needed to score

        patches = spread(maps.reshape(-1, maps.shape[-1]), SHIFTED)
        _, shifted, _ = shift(patches, np.ones(len(patches)), n_neighbors=_NEIGHBORS, max_iter=_STEPS)
        return cls(spread(shifted, KEPT).astype(np.float16))

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


def spread(rows: Floats, n: int) -> Floats:
    """Return at most n rows, evenly spaced."""
    return rows[evenly_spaced(len(rows), n)]
