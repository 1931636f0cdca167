"""From what a network has seen to a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.backbones.raw_maps import RawMaps
from msde.heatmaps.colours import LEAST_SHOWN, ColourScale
from msde.heatmaps.feature_maps import SIDE
from msde.heatmaps.foreground import Mask, tells
from msde.heatmaps.patch_models import KINDS, NAMES, PLACES, PatchModel, Seen
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

    views: dict[str, PatchModel[Any]]  # what is normal, by the name of the view
    scale: HeatScale  # from evidence to heat
    masked: bool = False  # whether flat background has no heat
    calm: float = CALM  # share of normal images that may show colour, in (0, 1)

    @classmethod
    @single_threaded_products()
    def fit(
        cls, normals: Mapping[str, Seen], groups: IndexArray | None = None, kinds: Mapping[str, str] | None = None
    ) -> Localizer:
        """Learn what is normal, and from normals held out of that how odd normals look.

        Parameters
        ----------
        normals : mapping of str to Seen
            The same n >= 10 images through each view, as the kind of its patch model sees them.
        groups : ndarray of shape (n,), optional
            Number of the patient of each image, -1 where it is not known: these should be in an order in which those
            of one patient are side by side.
        kinds : mapping of str to str, optional
            Name of the patch model of each view; by default "places".
        """
        kinds = dict(kinds or dict.fromkeys(normals, PLACES))
        masks = _foreground(normals)
        masked = masks is not None and tells(masks)
        folds = _folds(len(next(iter(normals.values()))[0]), groups)
        views, held_out = {}, []
        for name, seen in normals.items():
            views[name], evidence = KINDS[kinds[name]].model.fit(seen, folds, masked)
            held_out += evidence
        of_folds = masks[np.concatenate(folds)] if masked and masks is not None else None
        return cls(views, HeatScale.fit(held_out, of_folds), masked)

    @property
    def kinds(self) -> dict[str, str]:
        """Names of the patch models, by the name of the view; see `msde.heatmaps.patch_models.KINDS`."""
        return {name: NAMES[type(view)] for name, view in self.views.items()}

    def heat(self, seen: Mapping[str, Seen], cut: bool = True) -> Floats:
        """Measure n images through each view: heat (n, 56, 56) in [0, 1]; see :meth:`HeatScale.heat`."""
        evidence = [maps for name, view in self.views.items() for maps in view.evidence(seen[name])]
        return self.scale.heat(evidence, _foreground(seen) if self.masked else None, cut)

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
        """Digest of all arrays, and of whether background counts."""
        digests = [digest_of_arrays(arrays) for _, arrays in sorted(self.arrays().items())]
        return "\n".join([*digests, *["masked"] * self.masked]).encode()

    def wants(self, digest: bytes) -> bool:
        """Take every image."""
        return True

    def read(self, viewed: Mapping[str, RawMaps]) -> Floats:
        """Return the heat of n images, (n, 3136); not finite where the network's weights are damaged."""
        with single_threaded_products(), np.errstate(invalid="ignore", over="ignore"):
            heat = self.heat({name: KINDS[kind].seen.of(viewed[name]) for name, kind in self.kinds.items()})
        return heat.reshape(len(heat), -1)

    # What follows is for the model file.

    def arrays(self) -> dict[str, Arrays]:
        """Return all arrays: those of the scale, and those of each view."""
        views = {f"{_PART}.{name}": take_apart(view)[0] for name, view in self.views.items()}
        return {_PART: take_apart(self.scale)[0], **views}

    def describe(self) -> dict[str, Any]:
        """Return what is needed beside the arrays, ready for JSON."""
        return {"views": list(self.views), "patches": self.kinds, "masked": self.masked, "calm": self.calm}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], arrays: Mapping[str, Arrays]) -> Localizer:
        """Rebuild a localizer from what `describe` and `arrays` returned; raise KeyError if an array is missing."""
        kinds = {name: description.get("patches", {}).get(name, PLACES) for name in description["views"]}
        views = {name: put_together(KINDS[kind].model, arrays[f"{_PART}.{name}"], {}) for name, kind in kinds.items()}
        scale = put_together(HeatScale, arrays[_PART], {})
        return cls(views, scale, description.get("masked", False), description.get("calm", CALM))

    def check(self, channels: Mapping[str, tuple[int, int]]) -> None:
        """Check that arrays from a file fit together, and with the networks, by the heat of an image of zeros.

        `channels` are those of the fine and of the coarse feature map that a view shows, by its name. Raises ValueError
        if they do not.
        """
        if not isinstance(self.calm, float) or not 0 < self.calm < 1:
            raise ValueError("the share of normal images with colour must lie in (0, 1)")
        if not self.views or not set(self.views) <= set(channels):
            raise ValueError("the heat maps' views are not those of the encoder")
        # Of one place alone, because those of all are made ready for computing only where heat is asked for.
        thinned = replace(self, views={name: view.thinned() for name, view in self.views.items()})
        blank = {name: view.blank(channels[name]) for name, view in thinned.views.items()}
        finite = all(np.isfinite(array).all() for arrays in self.arrays().values() for array in arrays.values())
        if not finite or not np.isfinite(thinned.heat(blank)).all():
            raise ValueError("the heat maps' arrays give no finite heat")


def _folds(n: int, groups: IndexArray | None) -> list[IndexArray]:
    """Choose the folds that are held out."""
    folds: list[IndexArray] = []
    for number, rows in enumerate(dealt_folds(np.full(n, UNKNOWN) if groups is None else groups, N_FOLDS)):
        if number >= FOLDS_HELD_OUT and sum(map(len, folds)) >= FEWEST_HELD_OUT:
            break
        folds.append(rows)
    return folds


def _foreground(seen: Mapping[str, Seen]) -> Mask | None:
    """Return where there is no flat background, as the first view tells that sees it; None where none does."""
    return next((mask for mask in (one.mask for one in seen.values()) if mask is not None), None)
