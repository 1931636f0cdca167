"""What is normal for the patches that one view shows, and four kinds of evidence against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.feature_maps import PackedMaps, kept_channels
from msde.heatmaps.location_gaussian import LocationGaussian
from msde.heatmaps.patch_prototypes import PatchPrototypes
from msde.heatmaps.projection import Projection
from msde.heatmaps.resample import smoothed
from msde.method.arrays import IndexArray

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

    @classmethod
    def fit(cls, seen: PackedMaps, folds: Sequence[IndexArray], masked: bool) -> tuple[Self, list[Floats]]:
        """Fit normals, and measure those of each fold by a fit to the others, on the axes of all.

        A Gaussian at each place knows flat background for what it is, so `masked` changes nothing.
        """
        axes = Axes.fit(seen)
        projected = axes.apply(seen)
        everything = np.arange(len(projected.fine))
        held_out = [
            Normality.fit(projected.taken(np.delete(everything, rows))).evidence(projected.taken(rows))
            for rows in folds
        ]
        return cls(axes, Normality.fit(projected)), [np.concatenate(maps) for maps in zip(*held_out, strict=True)]

    def evidence(self, seen: PackedMaps) -> list[Floats]:
        """Measure images; see `Normality.evidence`."""
        return self.normality.evidence(self.axes.apply(seen))

    def blank(self, channels: tuple[int, int]) -> PackedMaps:
        """Return an image of nothing, of a network with these channels of its fine and of its coarse map."""
        gaussians = self.normality.fine, self.normality.coarse, self.normality.brightness
        widths = [*(len(kept_channels(n)) for n in channels), 1]
        grids = [gaussian.mean.shape[:2] for gaussian in gaussians]
        return PackedMaps(*(np.zeros((1, *grid, n), np.float32) for grid, n in zip(grids, widths, strict=True)))
