"""Bring features to one scale, as measured on the normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msde.method.arrays import FloatArray

KNEE = 0.5


@dataclass(frozen=True)
class Standardizer:
    """Bring each feature to mean 0 and deviation 1.

    Parameters
    ----------
    mean, deviation : ndarray of shape (d,)
        Of the training normals; a feature without deviation is only centred.
    """

    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def fit(cls, rows: FloatArray) -> Standardizer:
        """Measure mean and population deviation of rows of shape (n, d)."""
        mean = rows.mean(axis=0, dtype=np.float64)
        deviation = rows.std(axis=0, dtype=np.float64)
        # Equal values can leave a deviation of rounding size, which must not be blown up to 1.
        still = deviation <= 10 * np.finfo(rows.dtype).eps * np.abs(mean)
        return cls(mean.astype(rows.dtype), np.where(still, 1, deviation).astype(rows.dtype))

    def apply(self, rows: FloatArray) -> FloatArray:
        """Standardise rows of shape (m, d)."""
        return (rows - self.mean) / self.deviation


@dataclass(frozen=True)
class CompressingStandardizer:
    """Standardise, compress the tails by asinh, and standardise again.

    Pooled activations have long tails, which a Gaussian takes for anomalies; asinh leaves what lies within `KNEE`
    deviations and takes the logarithm of what lies far out (docs/ideas.md compares it with other transforms).

    Parameters
    ----------
    before, after : Standardizer
        Of the features, and of their compressed values.
    """

    before: Standardizer
    after: Standardizer

    @classmethod
    def fit(cls, rows: FloatArray) -> CompressingStandardizer:
        """Measure rows of shape (n, d)."""
        before = Standardizer.fit(rows)
        return cls(before, Standardizer.fit(np.arcsinh(before.apply(rows) / KNEE)))

    def apply(self, rows: FloatArray) -> FloatArray:
        """Transform rows of shape (m, d)."""
        return self.after.apply(np.arcsinh(self.before.apply(rows) / KNEE))
