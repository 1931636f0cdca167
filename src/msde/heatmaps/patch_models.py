"""Patch models by name: what each sees of a network's maps, and how it learns what is normal there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from msde.backbones import Backbone
from msde.backbones.raw_maps import RawMaps
from msde.heatmaps.feature_maps import PackedMaps, Shape
from msde.heatmaps.foreground import Mask
from msde.heatmaps.normality import View
from msde.heatmaps.subspace import Subspace
from msde.heatmaps.unit_modes import UnitModes
from msde.heatmaps.unit_tokens import UnitTokens
from msde.method.arrays import IndexArray

Floats = NDArray[np.float32]
PLACES = "places"


class Seen(Protocol):
    """What is kept of the feature maps of n images through one view; arrays of n."""

    @classmethod
    def of(cls, viewed: RawMaps) -> Self:
        """Reduce maps."""
        ...

    def __getitem__(self, number: int, /) -> NDArray[np.floating]:
        """Return one of the arrays."""
        ...

    @property
    def mask(self) -> Mask | None:
        """Where there is no flat background, (n, 56, 56); None where that is not told."""
        ...

    def shapes(self) -> list[Shape]:
        """Return the shapes of one image's arrays."""
        ...

    def packed(self) -> Floats:
        """Put an image's values in a row, (n, width)."""
        ...

    @classmethod
    def unpacked(cls, rows: NDArray[np.floating], shapes: Sequence[Shape]) -> Self:
        """Undo `packed`."""
        ...


S = TypeVar("S", bound=Seen)


class PatchModel(Protocol[S]):
    """What is normal through one view, a frozen dataclass of arrays."""

    @classmethod
    def fit(cls, seen: S, folds: Sequence[IndexArray], masked: bool) -> tuple[Self, list[Floats]]:
        """Fit normals, and measure those of each fold by a fit to the others; `masked` leaves background out."""
        ...

    def evidence(self, seen: S) -> list[Floats]:
        """Measure images: maps (n, h, w) of each kind of evidence, each on a grid and a scale of its own."""
        ...

    def thinned(self) -> Self:
        """Return what it says of one place, to be tried without making all of it ready."""
        ...

    def blank(self, channels: tuple[int, int]) -> S:
        """Return an image of nothing, of a network with these channels of its fine and of its coarse map."""
        ...


class Kind(NamedTuple, Generic[S]):
    """A kind of patch model."""

    seen: type[S]
    model: type[PatchModel[S]]


KINDS: dict[str, Kind[Any]] = {
    PLACES: Kind(PackedMaps, View),
    "modes": Kind(UnitTokens, UnitModes),
    "subspace": Kind(UnitTokens, Subspace),
}
NAMES = {kind.model: name for name, kind in KINDS.items()}


def default_kind(backbone: Backbone) -> str:
    """Name the patch model for a network: for tokens, whose networks state looks of their own, the subspace."""
    return "subspace" if backbone.looks else PLACES
