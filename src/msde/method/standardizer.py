"""Bring features to one scale, as measured on the normals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray

KNEE = 0.5

_LEAST_VARIANCE = 1e-9
_BLOCK_ROWS = 256


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
        squared = np.zeros(len(mean))
        for start in range(0, len(rows), _BLOCK_ROWS):  # because all offsets would be a copy in float64
            offsets = rows[start : start + _BLOCK_ROWS] - mean
            squared += np.einsum("ij,ij->j", offsets, offsets)
        deviation = np.sqrt(squared / len(rows))
        # Equal values can leave a deviation of rounding size, which must not be blown up to 1.
        still = deviation <= 10 * np.finfo(rows.dtype).eps * np.abs(mean)
        return cls(mean.astype(rows.dtype), np.where(still, 1, deviation).astype(rows.dtype))

    def apply(self, rows: FloatArray) -> FloatArray:
        """Standardise rows of shape (m, d)."""
        offsets = rows - self.mean
        offsets /= self.deviation
        return offsets


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
        return cls(before, Standardizer.fit(_compressed(before.apply(rows))))

    def apply(self, rows: FloatArray) -> FloatArray:
        """Transform rows of shape (m, d)."""
        return self.after.apply(_compressed(self.before.apply(rows)))


@dataclass(frozen=True)
class HeldOutStandardizer:
    """Transform training rows as a standardizer would that was fitted without them, on the scale of all.

    Means and deviations of the others follow from sums over all rows; those of their compressed values to first order
    of the change before.

    Parameters
    ----------
    standardizer : CompressingStandardizer
        Fitted to all rows.
    rows : ndarray of shape (n, d)
        These rows.
    sums : ndarray of shape (10, d), float64
        Of the moments over all rows.
    """

    standardizer: CompressingStandardizer
    rows: FloatArray
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, standardizer: CompressingStandardizer, rows: FloatArray) -> Self:
        """Sum up the moments of rows (n, d) to which the standardizer was fitted."""
        blocks = (rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS))
        sums = sum(_moments(standardizer.before.apply(block).astype(np.float64)).sum(axis=1) for block in blocks)
        return cls(standardizer, rows, np.asarray(sums))

    def apply(self, groups: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Transform groups without themselves.

        Parameters
        ----------
        groups : ndarray of shape (b, s)
            Row numbers of each group.

        Returns
        -------
        rows : ndarray of shape (b, s, d)
            Where each row lies among the others as `standardizer` transforms them.
        deviations : ndarray of shape (b, d)
            Of the others there, which would be 1 if it had been fitted to them.
        """
        after = self.standardizer.after
        scaled = self.standardizer.before.apply(self.rows[groups]).astype(np.float64)
        of_others = (self.sums[:, None] - _moments(scaled).sum(axis=2)) / (len(self.rows) - groups.shape[1])
        mean, square, value, value2, slope, bend, value_slope, value_bend, slope2, slope_bend = of_others
        variance, before2 = square - mean**2, value2 - value**2
        still = (variance < _LEAST_VARIANCE) | (before2 < _LEAST_VARIANCE)
        moved = np.where(still, 0, mean)
        deviation = np.sqrt(np.where(still, 1, variance))
        compressed = np.arcsinh((scaled - moved[:, None]) / deviation[:, None] / KNEE)
        # A compressed value changes by its slope where the mean moves, by its bend where the deviation grows.
        by_slope, by_bend = -moved / KNEE, -np.log(deviation)
        centre = value + by_slope * slope + by_bend * bend
        spread2 = value2 + 2 * (by_slope * value_slope + by_bend * value_bend) + by_slope**2 * slope2
        spread2 += 2 * by_slope * by_bend * slope_bend + by_bend**2 * (1 - slope2) - centre**2
        still |= spread2 < _LEAST_VARIANCE
        grown = np.sqrt(np.where(still, 1, before2) / np.where(still, 1, spread2))
        rows = (value - after.mean)[:, None] + grown[:, None] * (compressed - centre[:, None])
        return rows / after.deviation, np.where(still, 1, np.sqrt(np.maximum(before2, 0)) / after.deviation)


def _compressed(scaled: FloatArray) -> FloatArray:
    """Compress tails, in the place of what is given, because of many rows each copy counts."""
    scaled /= KNEE
    return np.arcsinh(scaled, out=scaled)


def _moments(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stack scaled and compressed values, how these change, and their products: what is summed, (10, ..., d)."""
    compressed, slope = np.arcsinh(scaled / KNEE), 1 / np.sqrt(1 + (scaled / KNEE) ** 2)
    bend = scaled / KNEE * slope
    pairs = ((compressed, compressed), (compressed, slope), (compressed, bend), (slope, slope), (slope, bend))
    value2, value_slope, value_bend, slope2, slope_bend = (one * other for one, other in pairs)
    return np.stack([scaled, scaled**2, compressed, value2, slope, bend, value_slope, value_bend, slope2, slope_bend])
