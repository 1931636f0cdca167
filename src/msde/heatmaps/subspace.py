"""What of a token lies outside the few axes along which normal tokens vary.

After Lendering, Akdag, Bondarev, "SubspaceAD" (CVPR 2026, arXiv 2602.23013), on tokens of unit length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.unit_tokens import UnitTokens
from msde.method.arrays import IndexArray

Floats = NDArray[np.float32]

EXPLAINED = 0.99
"""Share of the variance of normal tokens that the axes hold."""
MEASURED = 100_000
"""Tokens that are measured."""


@dataclass(frozen=True)
class Subspace:
    """The axes of normal tokens."""

    mean: Floats  # (c,)
    axes: Floats  # (c, q): orthonormal columns, that of the largest variance first, at most half as many as channels

    def __post_init__(self) -> None:
        """Refuse arrays of other shapes, such as those of a damaged model file."""
        if self.axes.ndim != 2 or self.mean.shape != self.axes.shape[:1]:
            raise ValueError(f"{self.mean.shape} means of heat maps do not go with axes {self.axes.shape}")

    @classmethod
    def fit(cls, seen: UnitTokens, folds: Sequence[IndexArray], masked: bool) -> tuple[Self, list[Floats]]:
        """Fit normals, and measure those of each fold by a fit to the others.

        Products are added up image by image, and those of a fold are taken off again: beside `seen` that takes
        8 (f + 2) c^2 bytes for f folds and c channels, 0.1 GB for ten folds of 1,024.
        """
        width = seen.tokens.shape[-1] + 1  # a one beside each token, whose products are sums and number
        products = np.zeros((len(folds) + 1, width, width))
        fold_of = np.full(len(seen.tokens), len(folds))
        for number, rows in enumerate(folds):
            fold_of[rows] = number
        for number, tokens in zip(fold_of, seen.chosen(np.arange(len(fold_of)), MEASURED, masked), strict=True):
            beside_one = np.hstack([tokens, np.ones((len(tokens), 1), np.float32)])
            products[number] += beside_one.T @ beside_one
        total = products.sum(axis=0)
        held_out = [
            cls._of(total - of_fold).evidence(seen.taken(rows))[0]
            for rows, of_fold in zip(folds, products[:-1], strict=True)
        ]
        return cls._of(total), [np.concatenate(held_out)]

    @classmethod
    def _of(cls, products: NDArray[np.float64]) -> Self:
        n = max(products[-1, -1], 1)
        mean = products[-1, :-1] / n
        variances, axes = np.linalg.eigh(products[:-1, :-1] / n - np.outer(mean, mean))
        shares = np.cumsum(variances[::-1].clip(0))
        q = int(np.searchsorted(shares, EXPLAINED * shares[-1])) + 1
        kept = axes[:, ::-1][:, : max(1, min(q, len(mean) // 2))]
        return cls(mean.astype(np.float32), np.ascontiguousarray(kept, dtype=np.float32))

    def evidence(self, seen: UnitTokens) -> list[Floats]:
        """Measure images: one map (n, h, w) of distances from the subspace, in [0, 2]."""
        maps = np.empty(seen.tokens.shape[:3], np.float32)
        for number, tokens in enumerate(seen.tokens):
            offsets = tokens.astype(np.float32) - self.mean
            along = offsets @ self.axes
            squared = np.einsum("ijc,ijc->ij", offsets, offsets) - np.einsum("ijq,ijq->ij", along, along)
            maps[number] = np.sqrt(np.maximum(squared, 0))
        return [maps]

    def thinned(self) -> Self:
        """Return itself: it knows of no place."""
        return self

    def blank(self, channels: tuple[int, int]) -> UnitTokens:
        """Return an image of nothing; see `UnitTokens.blank`."""
        return UnitTokens.blank(channels)
