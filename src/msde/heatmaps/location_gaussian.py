"""A Gaussian at each place of a map.

After Defard, Setkov, Loesch, Audigier, "PaDiM" (ICPR 2021), with each covariance shrunk halfway to the mean of all
places. Where images are not aligned, the Gaussians of all places come out alike, and nothing is lost but memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import IndexArray

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]

SHARED = 0.5
_RIDGE = 0.01  # of the mean variance, so that it means the same for features and for brightness
_LEAST = 1e-6
_AT_A_TIME = 14  # places
_MOST_BLOCKS = 16  # of the thousands where brightness is measured


@dataclass(frozen=True)
class LocationGaussian:
    """The normal patches of each of h x w places."""

    mean: Halves  # (h, w, q): centres
    whitening: Halves  # (h, w, q, q): maps an offset from the centre to uncorrelated axes of unit variance

    def __post_init__(self) -> None:
        """Refuse arrays of other shapes, such as those of a damaged model file, which might be stretched to fit."""
        if self.mean.ndim != 3 or self.whitening.shape != (*self.mean.shape, self.mean.shape[-1]):
            raise ValueError(f"{self.mean.shape} means of heat maps do not go with {self.whitening.shape} whitenings")

    @classmethod
    def fit(cls, maps: Floats) -> Self:
        """Fit maps of shape (n, h, w, q), n >= 2."""
        return cls.cross_fitted(maps, [])[0]

    @classmethod
    def cross_fitted(cls, maps: Floats, folds: Sequence[IndexArray]) -> tuple[Self, list[Floats]]:
        """Fit maps (n, h, w, q), and measure those of each fold, (f, h, w), by a fit to the others.

        Sums over the others are those over all, less the fold's: a third of the products of as many fits.
        """
        n, height, width, q = maps.shape
        mean = maps.mean(axis=0)
        places = height * width
        flat, centre = maps.reshape(n, places, q), mean.reshape(places, q)
        products = np.empty((places, q, q), np.float32)
        for block in _blocks(places):
            products[block] = _products(flat[:, block] - centre[block])
        held_out = []
        for rows in folds:
            held, others = flat[rows] - centre, n - len(rows)
            moved = held.sum(axis=0) / np.float32(-others)  # the mean of the others, from that of all
            left = products.copy()
            for block in _blocks(places):
                at = moved[block]
                left[block] -= _products(held[:, block]) + others * at[:, :, None] * at[:, None]
            held_out.append(cls._of(mean + moved.reshape(mean.shape), left, others).distances(maps[rows]))
        return cls._of(mean, products, n), held_out

    @classmethod
    def _of(cls, mean: Floats, products: Floats, n: int) -> Self:
        """Take products of offsets of n maps, (places, q, q), for a Gaussian."""
        from scipy.linalg.lapack import strtri  # inverts triangles; not needed to score

        q = mean.shape[-1]
        shared = products.mean(axis=0) / np.float32(n - 1)
        shared += (_RIDGE * np.trace(shared) / q + _LEAST) * np.eye(q, dtype=np.float32) / SHARED
        whitening: Halves = np.empty(products.shape, np.float16)
        for block in _blocks(len(products)):
            covariance = products[block] / np.float32(n - 1)
            factors = np.linalg.cholesky((1 - SHARED) * covariance + SHARED * shared)
            inverses = [1 / factors] if q == 1 else [strtri(factor, lower=1)[0].T[None] for factor in factors]
            whitening[block] = np.concatenate(inverses)
        return cls(mean.astype(np.float16), whitening.reshape(*mean.shape, q))

    def thinned(self) -> Self:
        """Return the Gaussian of the first place."""
        return replace(self, mean=self.mean[:1, :1], whitening=self.whitening[:1, :1])

    def distances(self, maps: Floats) -> Floats:
        """Measure the Mahalanobis distances (n, h, w) of maps (n, h, w, q) from the normals of each place."""
        mean, whitening = self._single
        white = (maps - mean).transpose(1, 2, 0, 3) @ whitening
        return np.sqrt(np.einsum("ijnq,ijnq->nij", white, white))

    @cached_property
    def _single(self) -> tuple[Floats, Floats]:
        return self.mean.astype(np.float32), self.whitening.astype(np.float32)


def _blocks(places: int) -> list[slice]:
    """Take some places after the other, because arrays of all of them, again and again, are much memory."""
    step = max(_AT_A_TIME, places // _MOST_BLOCKS)
    return [slice(start, start + step) for start in range(0, places, step)]


def _products(offsets: Floats) -> Floats:
    """Add up the products of offsets (n, p, q) at each place, (p, q, q)."""
    return np.asarray(offsets.transpose(1, 2, 0) @ offsets.transpose(1, 0, 2))
