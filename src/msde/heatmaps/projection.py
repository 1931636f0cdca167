"""Patches on few axes: standardised, tails compressed, projected on their principal axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import evenly_spaced
from msde.method.standardizer import CompressingStandardizer

Floats = NDArray[np.float32]

AXES = 112
_MEASURED = 20_000


@dataclass(frozen=True)
class Projection:
    """From the c channels of a feature map to q axes."""

    standardizer: CompressingStandardizer  # of the channels, over all places
    axes: Floats  # (c, q): orthonormal columns, that of the largest variance first

    @classmethod
    def fit(cls, maps: NDArray[np.floating]) -> Projection:
        """Measure maps of shape (n, h, w, c), at no more than 20,000 evenly spaced patches; q is at most 112."""
        n, height, width, channels = maps.shape
        image, place = np.divmod(evenly_spaced(n * height * width, _MEASURED), height * width)
        # Picked before they are floats, because kept maps are in half precision and side by side with others.
        patches = maps.reshape(n, height * width, channels)[image, place].astype(np.float32)
        standardizer = CompressingStandardizer.fit(patches)
        standard = standardizer.apply(patches)
        _, axes = np.linalg.eigh(standard.T @ standard)
        return cls(standardizer, np.ascontiguousarray(axes[:, ::-1][:, :AXES], dtype=np.float32))

    def apply(self, maps: Floats) -> Floats:
        """Project maps of shape (n, h, w, c) to (n, h, w, q)."""
        return np.asarray(self.standardizer.apply(maps) @ self.axes)
