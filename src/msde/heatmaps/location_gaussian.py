"""A Gaussian at each place of a map.

After Defard, Setkov, Loesch, Audigier, "PaDiM" (ICPR 2021), with each covariance shrunk halfway to the mean of all
places. Where images are not aligned, the Gaussians of all places come out alike, and nothing is lost but memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]

SHARED = 0.5
_RIDGE = 0.01  # of the mean variance, so that it means the same for features and for brightness
_LEAST = 1e-6


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
    def fit(cls, maps: Floats) -> LocationGaussian:
        """Fit maps of shape (n, h, w, q), n >= 2."""
        from scipy.linalg.lapack import strtri  # inverts triangles; not needed to score

        n, height, width, q = maps.shape
        mean = maps.mean(axis=0)
        offsets = (maps - mean).reshape(n, height * width, q).transpose(1, 2, 0)
        covariance = offsets @ offsets.transpose(0, 2, 1) / np.float32(n - 1)
        shared = covariance.mean(axis=0)
        shared += (_RIDGE * np.trace(shared) / q + _LEAST) * np.eye(q, dtype=np.float32) / SHARED
        factors = np.linalg.cholesky((1 - SHARED) * covariance + SHARED * shared)
        whitening = np.stack([strtri(factor, lower=1)[0].T for factor in factors])
        return cls(mean.astype(np.float16), whitening.astype(np.float16).reshape(height, width, q, q))

    def distances(self, maps: Floats) -> Floats:
        """Measure the Mahalanobis distances (n, h, w) of maps (n, h, w, q) from the normals of each place."""
        mean, whitening = self._single
        white = (maps - mean).transpose(1, 2, 0, 3) @ whitening
        return np.sqrt(np.einsum("ijnq,ijnq->nij", white, white))

    @cached_property
    def _single(self) -> tuple[Floats, Floats]:
        return self.mean.astype(np.float32), self.whitening.astype(np.float32)
