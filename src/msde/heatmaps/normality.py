"""What is normal for the patches that one view shows, and four kinds of evidence against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.feature_maps import PackedMaps
from msde.heatmaps.location_gaussian import LocationGaussian
from msde.heatmaps.patch_prototypes import PatchPrototypes
from msde.heatmaps.projection import Projection
from msde.heatmaps.resample import smoothed

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Axes:
    """Projections of the two feature maps."""

    fine: Projection
    coarse: Projection

    @classmethod
    def fit(cls, seen: PackedMaps) -> Axes:
        """Measure the normals."""
        return cls(Projection.fit(seen.fine), Projection.fit(seen.coarse))

    def apply(self, seen: PackedMaps) -> PackedMaps:
        """Project, and smooth the fine map over 3 x 3 places."""
        return PackedMaps(smoothed(self.fine.apply(seen.fine)), self.coarse.apply(seen.coarse), seen.brightness)


@dataclass(frozen=True)
class Normality:
    """The normals on these axes."""

    fine: LocationGaussian
    coarse: LocationGaussian
    brightness: LocationGaussian  # of the pixels
    modes: PatchPrototypes  # of the coarse map

    @classmethod
    def fit(cls, projected: PackedMaps) -> Normality:
        """Fit normals that were projected."""
        fine, coarse, brightness = map(LocationGaussian.fit, projected)
        return cls(fine, coarse, brightness, PatchPrototypes.fit(projected.coarse))

    def evidence(self, projected: PackedMaps) -> list[Floats]:
        """Measure images that were projected: four maps (n, h, w), each on a grid and a scale of its own."""
        return [
            self.fine.distances(projected.fine),
            self.coarse.distances(projected.coarse),
            self.brightness.distances(projected.brightness),
            self.modes.distances(projected.coarse),
        ]


@dataclass(frozen=True)
class View:
    """The axes of one view, and what is normal on them."""

    axes: Axes
    normality: Normality

    def evidence(self, seen: PackedMaps) -> list[Floats]:
        """Measure images; see `Normality.evidence`."""
        return self.normality.evidence(self.axes.apply(seen))
