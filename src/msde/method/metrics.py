"""How well scores tell abnormal from normal: AUROC and average precision with bootstrap intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 1000
_CHUNK = 50
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Metric:
    """A figure with its 95 % interval; ends are NaN where it has none."""

    value: float
    low: float
    high: float

    @classmethod
    def resampled(cls, figures: NDArray[np.float64]) -> Self:
        """Take the first figure (r,) as the value, and the interval from the others, which are its resamples."""
        low, high = np.quantile(figures[1:], [0.025, 0.975]) if len(figures) > 1 else (np.nan, np.nan)
        return cls(float(figures[0]), float(low), float(high))


@dataclass(frozen=True)
class Discrimination:
    """AUROC and average precision of scores."""

    auroc: Metric
    ap: Metric


def discrimination(
    normal: NDArray[np.float64], abnormal: NDArray[np.float64], n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Discrimination:
    """Measure how well scores tell abnormal from normal.

    Parameters
    ----------
    normal, abnormal : ndarray of shape (n,) and (m,)
        Anomaly scores, finite, at least one each.
    n_resamples : int, default=1000
        Bootstrap resamples, drawn within each class.
    seed : int, default=0
        Of the resampling.

    Returns
    -------
    Discrimination
        AUROC and AP in [0, 1] with 95 % percentile intervals (Efron and Tibshirani, 1993, chapter 13). Images are
        resampled, not patients, so several images of one patient make the intervals too narrow.
    """
    values, level = np.unique(np.concatenate([normal, abnormal]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(values)) for part in (level[: len(normal)], level[len(normal) :])]
    rng = np.random.default_rng(seed)
    whole = [part[None] for part in counts]
    figures = [(auroc_of_counts(*whole), average_precision_of_counts(*whole))]
    for start in range(0, n_resamples, _CHUNK):
        size = min(_CHUNK, n_resamples - start)
        drawn = [rng.multinomial(part.sum(), part / part.sum(), size=size) for part in counts]
        figures.append((auroc_of_counts(*drawn), average_precision_of_counts(*drawn)))
    aurocs, precisions = (np.concatenate(column) for column in zip(*figures, strict=True))
    return Discrimination(Metric.resampled(aurocs), Metric.resampled(precisions))


def auroc(normal: NDArray[np.float64], abnormal: NDArray[np.float64]) -> float:
    """Compute the area under the ROC curve of anomaly scores of normal (n,) and abnormal (m,) images."""
    return discrimination(normal, abnormal, n_resamples=1).auroc.value


def auroc_of_counts(normals: NDArray[np.int64], abnormals: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the AUROC of each row of counts; columns are the distinct scores, ascending."""
    below = np.cumsum(normals, axis=1) - normals / 2
    return (abnormals * below).sum(axis=1) / (normals.sum(axis=1) * abnormals.sum(axis=1))


def average_precision_of_counts(normals: NDArray[np.int64], abnormals: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the average precision of each row of counts; columns are the distinct scores, ascending."""
    found = np.cumsum(abnormals[:, ::-1], axis=1)
    called = found + np.cumsum(normals[:, ::-1], axis=1)
    return (abnormals[:, ::-1] * found / np.maximum(called, 1)).sum(axis=1) / abnormals.sum(axis=1)


def wilson(k: float, n: float) -> tuple[float, float]:
    """Compute Wilson's 95 % interval (1927) of a share of k in n.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(2, 40)]
    [0.014, 0.165]
    """
    share, z2 = k / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
