"""Scores of labelled images with the patients that these are of, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from msde.method.metrics import Discrimination, Metric

N_RESAMPLES = 1000
_CHUNK = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """Anomaly scores of n labelled images, and the patient of each."""

    scores: Floats
    abnormal: NDArray[np.bool_]
    patients: NDArray[np.int64]  # the same number for the same patient; a patient may have normal and abnormal images

    def resampled(self, n_resamples: int, seed: int = 0) -> Iterator[Floats]:
        """Resample patients; yield how often each image is drawn (r, n), some draws at a time.

        Draws without either class are left out.
        """
        rng = np.random.default_rng(seed)
        _, number = np.unique(self.patients, return_inverse=True)
        n = int(number.max()) + 1
        for start in range(0, n_resamples, _CHUNK):
            size = min(_CHUNK, n_resamples - start)
            drawn = rng.multinomial(n, np.full(n, 1 / n), size=size)[:, number].astype(np.float64)
            both = (drawn @ self.abnormal > 0) & (drawn @ ~self.abnormal > 0)
            yield drawn[both]


def discrimination(labelled: Labelled, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Discrimination:
    """Measure AUROC and average precision with 95 % intervals over patients (Efron and Tibshirani, 1993, chapter 13).

    There must be at least one image of either class.
    """
    draws = labelled.resampled(n_resamples, seed)
    figures = [areas(labelled, weights) for weights in chain([np.ones((1, len(labelled.scores)))], draws)]
    return Discrimination(*(Metric.resampled(np.concatenate(column)) for column in zip(*figures, strict=True)))


def weighted_areas(labelled: Labelled, share: float) -> tuple[float, float]:
    """Return AUROC and average precision as they would be, were the stated share of the images abnormal."""
    n, m = int((~labelled.abnormal).sum()), int(labelled.abnormal.sum())
    weights = np.where(labelled.abnormal, share / m, (1 - share) / n)
    auroc, precision = areas(labelled, weights[None])
    return float(auroc[0]), float(precision[0])


def cumulate(labelled: Labelled, weights: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Sum weights of all and of abnormal images from the highest score down; `last` ends each run of equal scores."""
    order = np.argsort(-labelled.scores, kind="stable")
    sorted_scores = labelled.scores[order]
    last = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))
    sorted_weights = weights[:, order]
    return np.cumsum(sorted_weights, axis=1), np.cumsum(sorted_weights * labelled.abnormal[order], axis=1), last


def areas(labelled: Labelled, weights: Floats) -> tuple[Floats, Floats]:
    """Compute AUROC and average precision of each row of image weights (r, n); equal scores are one step."""
    called, found, last = cumulate(labelled, weights)
    steps = np.diff(found[:, last], prepend=0.0)
    normals = called[:, last] - found[:, last]
    above = normals - np.diff(normals, prepend=0.0) / 2
    auroc = 1 - (steps * above).sum(axis=1) / (found[:, -1] * normals[:, -1])
    precision = found[:, last] / np.maximum(called[:, last], np.finfo(np.float64).tiny)
    return auroc, (steps * precision).sum(axis=1) / found[:, -1]
