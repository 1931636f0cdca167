"""From what a network has seen to a heat map."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.backbones.raw_maps import RawMaps
from msde.heatmaps.colours import LEAST_SHOWN, ColourScale
from msde.heatmaps.feature_maps import SIDE, PackedMaps, kept_channels
from msde.heatmaps.normality import Axes, Normality, View
from msde.heatmaps.scale import HeatScale
from msde.method.arrays import IndexArray
from msde.method.groups import UNKNOWN, dealt_folds
from msde.method.parallel import single_threaded_products
from msde.storage.bundle import digest_of_arrays
from msde.storage.records import Arrays, put_together, take_apart

Floats = NDArray[np.float32]

N_FOLDS = 10
FOLDS_HELD_OUT = 4  # of ten: enough to scale by, at less than half the time
FEWEST_HELD_OUT = 100  # images, or all, by which the share of normal images with colour is told
CALM = 0.05
_PART = "localizer"


@dataclass(frozen=True)
class Localizer:
    """Tells where an image differs from the normals."""

    views: dict[str, View]  # what is normal, by the name of the view
    scale: HeatScale  # from evidence to heat
    calm: float = CALM  # share of normal images that may show colour, in (0, 1)

    @classmethod
    @single_threaded_products()
    def fit(cls, normals: Mapping[str, PackedMaps], groups: IndexArray | None = None) -> Localizer:
        """Learn what is normal, and from normals held out of that how odd normals look.

        Takes the same n >= 10 images through each view, and the number of the patient of each, (n,), -1 where it is not
        known: these should be in an order in which those of one patient are side by side.
        """
        views, held_out = {}, []
        for name, seen in normals.items():
            axes = Axes.fit(seen)
            projected = axes.apply(seen)
            parts = zip(*_held_out(projected, groups), strict=True)
            held_out += [np.concatenate(maps) for maps in parts]
            views[name] = View(axes, Normality.fit(projected))
        return cls(views, HeatScale.fit(held_out))

    def heat(self, seen: Mapping[str, PackedMaps]) -> Floats:
        """Measure n images through each view: heat (n, 56, 56) in [0, 1]; see :meth:`HeatScale.heat`."""
        return self.scale.heat([maps for name, view in self.views.items() for maps in view.evidence(seen[name])])

    @property
    def colours(self) -> ColourScale:
        """Where colour begins, so that few normal images show any; models of older formats were not calm by image.

        Half of the normal images that may show colour are those that stand out as wholes, by their p-values, and half
        those that do by their hottest place.
        """
        if self.scale.peaks is None:
            return ColourScale()
        half = self.calm / 2
        peak, exceeding = self.scale.peak(half)
        return ColourScale(min(max(peak, LEAST_SHOWN), 1.0), half + exceeding, half)

    # What follows makes it a `msde.embedding.embed.MapReader`.

    width = SIDE * SIDE

    @cached_property
    def key(self) -> bytes:
        """Digest of all arrays."""
        return "\n".join(digest_of_arrays(arrays) for _, arrays in sorted(self.arrays().items())).encode()

    def wants(self, digest: bytes) -> bool:
        """Take every image."""
        return True

    def read(self, viewed: Mapping[str, RawMaps]) -> Floats:
        """Return the heat of n images, (n, 3136); not finite where the network's weights are damaged."""
        with single_threaded_products(), np.errstate(invalid="ignore", over="ignore"):
            heat = self.heat({name: PackedMaps.of(viewed[name]) for name in self.views})
        return heat.reshape(len(heat), -1)

    # What follows is for the model file.

    def arrays(self) -> dict[str, Arrays]:
        """Return all arrays: those of the scale, and those of each view."""
        views = {f"{_PART}.{name}": take_apart(view)[0] for name, view in self.views.items()}
        return {_PART: take_apart(self.scale)[0], **views}

    def describe(self) -> dict[str, Any]:
        """Return what is needed beside the arrays, ready for JSON."""
        return {"views": list(self.views), "calm": self.calm}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], arrays: Mapping[str, Arrays]) -> Localizer:
        """Rebuild a localizer from what `describe` and `arrays` returned; raise KeyError if an array is missing."""
        views = {name: put_together(View, arrays[f"{_PART}.{name}"], {}) for name in description["views"]}
        return cls(views, put_together(HeatScale, arrays[_PART], {}), description.get("calm", CALM))

    def check(self, views: Collection[str], channels: Sequence[int]) -> None:
        """Check that arrays from a file fit together, and with the network, by the heat of an image of zeros.

        `channels` are those of its fine and of its coarse feature map. Raises ValueError if they do not.
        """
        if not isinstance(self.calm, float) or not 0 < self.calm < 1:
            raise ValueError("the share of normal images with colour must lie in (0, 1)")
        if not self.views or not set(self.views) <= set(views):
            raise ValueError("the heat maps' views are not those of the encoder")
        kept = [len(kept_channels(n)) for n in channels]
        blank = {name: _blank(view.normality, kept) for name, view in self.views.items()}
        if not np.isfinite(self.heat(blank)).all():
            raise ValueError("the heat maps' arrays give no finite heat")


def _held_out(projected: PackedMaps, groups: IndexArray | None) -> Iterator[list[Floats]]:
    """Measure normals by the others, fold by fold."""
    n = len(projected.fine)
    dealt = dealt_folds(np.full(n, UNKNOWN) if groups is None else groups, N_FOLDS)
    n_held_out = 0
    for number, rows in enumerate(dealt):
        if number >= FOLDS_HELD_OUT and n_held_out >= FEWEST_HELD_OUT:
            break
        n_held_out += len(rows)
        others = np.delete(np.arange(n), rows)
        yield Normality.fit(PackedMaps(*(part[others] for part in projected))).evidence(
            PackedMaps(*(part[rows] for part in projected))
        )


def _blank(normality: Normality, channels: list[int]) -> PackedMaps:
    grids = [gaussian.mean.shape[:2] for gaussian in (normality.fine, normality.coarse, normality.brightness)]
    return PackedMaps(*(np.zeros((1, *grid, n), np.float32) for grid, n in zip(grids, [*channels, 1], strict=True)))
