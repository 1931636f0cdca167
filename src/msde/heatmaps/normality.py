"""What is normal for the patches that one view shows, and four kinds of evidence against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.feature_maps import PackedMaps, kept_channels
from msde.heatmaps.location_gaussian import LocationGaussian
from msde.heatmaps.patch_prototypes import PatchPrototypes, spread_patches
from msde.heatmaps.projection import Projection
from msde.heatmaps.resample import smoothed
from msde.method.arrays import IndexArray
from msde.method.parallel import in_order

Floats = NDArray[np.float32]

_AT_A_TIME = 16  # images


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

        def fine() -> tuple[Projection, LocationGaussian, list[Floats]]:
            axes = Projection.fit(seen.fine)
            return axes, *LocationGaussian.cross_fitted(_projected(axes, seen.fine, smoothed), folds)

        def coarse() -> tuple[Projection, LocationGaussian, list[Floats], PatchPrototypes, list[Floats]]:
            axes = Projection.fit(seen.coarse)
            maps = _projected(axes, seen.coarse)
            modes, without = PatchPrototypes.cross_fitted(*spread_patches(maps), folds)
            measured = [modes.distances(maps[rows]) for modes, rows in zip(without, folds, strict=True)]
            return axes, *LocationGaussian.cross_fitted(maps, folds), modes, measured

        def brightness() -> tuple[LocationGaussian, list[Floats]]:
            return LocationGaussian.cross_fitted(seen.brightness.astype(np.float32), folds)

        # Side by side, for none of the three fills all processors, and with few copies of the maps at a time.
        found: Any = tuple(in_order(lambda part: part(), (fine, coarse, brightness)))
        (fine_axes, of_fine, *first), (coarse_axes, of_coarse, second, modes, fourth), (of_brightness, third) = found
        held_out = [np.concatenate(maps) for maps in (*first, second, third, fourth)]
        return cls(Axes(fine_axes, coarse_axes), Normality(of_fine, of_coarse, of_brightness, modes)), held_out

    def evidence(self, seen: PackedMaps) -> list[Floats]:
        """Measure images; see `Normality.evidence`."""
        return self.normality.evidence(self.axes.apply(seen))

    def thinned(self) -> Self:
        """Return what is normal of the first place of each map, which tells whether arrays fit together."""
        normality = self.normality
        fine, coarse, brightness = normality.fine.thinned(), normality.coarse.thinned(), normality.brightness.thinned()
        return replace(self, normality=Normality(fine, coarse, brightness, normality.modes))

    def blank(self, channels: tuple[int, int]) -> PackedMaps:
        """Return an image of nothing, of a network with these channels of its fine and of its coarse map."""
        gaussians = self.normality.fine, self.normality.coarse, self.normality.brightness
        widths = [*(len(kept_channels(n)) for n in channels), 1]
        grids = [gaussian.mean.shape[:2] for gaussian in gaussians]
        return PackedMaps(*(np.zeros((1, *grid, n), np.float32) for grid, n in zip(grids, widths, strict=True)))


def _projected(axes: Projection, maps: NDArray[np.floating], then: Callable[[Floats], Floats] | None = None) -> Floats:
    """Project maps (n, h, w, c), which may be in half precision, some images at a time."""
    projected = np.empty((*maps.shape[:3], axes.axes.shape[1]), np.float32)
    for start in range(0, len(maps), _AT_A_TIME):
        block = axes.apply(maps[start : start + _AT_A_TIME].astype(np.float32))
        projected[start : start + _AT_A_TIME] = block if then is None else then(block)
    return projected
