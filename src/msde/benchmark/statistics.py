"""What can be said of figures: intervals over patients, tests for pairs of detectors, and over sets.

Intervals: percentile bootstrap over patients (Efron and Tibshirani, 1993, chapter 13). Pairs on one set: DeLong, DeLong
and Clarke-Pearson (Biometrics 44:837, 1988), in Obuchowski's form for several images of a patient (Biometrics 53:567,
1997). Over sets: Friedman, Nemenyi's critical difference, and Wilcoxon's signed ranks with Holm's correction (Demsar,
JMLR 7:1, 2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.method.metrics import Discrimination, Metric

N_RESAMPLES = 1000
GRID = np.linspace(0, 1, 101)
_CHUNK = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """Anomaly scores of n labelled images, and the patient of each."""

    scores: Floats
    abnormal: NDArray[np.bool_]
    patients: NDArray[np.int64]  # the same number for the same patient; a patient may have normal and abnormal images

    def weights(self, n_resamples: int, seed: int = 0) -> Floats:
        """Resample patients; return how often each image is drawn (r, n). Draws without either class are left out."""
        rng = np.random.default_rng(seed)
        _, number = np.unique(self.patients, return_inverse=True)
        n = int(number.max()) + 1
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)[:, number].astype(np.float64)
        both = (drawn @ self.abnormal > 0) & (drawn @ ~self.abnormal > 0)
        return drawn[both]


@dataclass(frozen=True)
class Band:
    """A curve over `GRID` with its pointwise 95 % interval; each of shape (101,)."""

    middle: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Difference:
    """Two AUROCs on the same images."""

    value: float  # the first minus the second
    low: float  # of the 95 % interval
    high: float  # of the same
    p_value: float  # two-sided, of no difference


def discrimination(labelled: Labelled, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Discrimination:
    """Measure AUROC and average precision with 95 % intervals over patients.

    There must be at least one image of either class.
    """
    weights = np.vstack([np.ones((1, len(labelled.scores))), labelled.weights(n_resamples, seed)])
    figures = [_areas(labelled, weights[start : start + _CHUNK]) for start in range(0, len(weights), _CHUNK)]
    return Discrimination(*(_metric(np.concatenate(column)) for column in zip(*figures, strict=True)))


def weighted_areas(labelled: Labelled, share: float) -> tuple[float, float]:
    """Return AUROC and average precision as they would be, were the stated share of the images abnormal."""
    n, m = int((~labelled.abnormal).sum()), int(labelled.abnormal.sum())
    weights = np.where(labelled.abnormal, share / m, (1 - share) / n)
    auroc, precision = _areas(labelled, weights[None])
    return float(auroc[0]), float(precision[0])


def roc_band(labelled: Labelled, n_resamples: int = 300, seed: int = 0) -> Band:
    """Return the sensitivity over false-alarm rates `GRID`."""
    return _band(labelled, n_resamples, seed, precision=False)


def precision_band(labelled: Labelled, n_resamples: int = 300, seed: int = 0) -> Band:
    """Return the precision over sensitivities `GRID`, the largest at that sensitivity or a higher one."""
    return _band(labelled, n_resamples, seed, precision=True)


def compare(one: Labelled, other: Labelled) -> Difference:
    """Test the AUROCs of two detectors on the same images in the same order.

    Images of a patient may depend on each other. Where each image is a patient of its own this is DeLong's test.
    """
    areas, parts = zip(*(_components(labelled) for labelled in (one, other)), strict=True)
    value = float(areas[0] - areas[1])
    influence = parts[0] - parts[1]
    _, patient = np.unique(one.patients, return_inverse=True)
    n, m = int((~one.abnormal).sum()), int(one.abnormal.sum())
    sums = [np.bincount(patient[one.abnormal == label], influence[one.abnormal == label]) for label in (False, True)]
    wide = max(map(len, sums))
    normal, abnormal = (np.pad(part, (0, wide - len(part))) for part in sums)
    n_patients = [len(np.unique(patient[one.abnormal == label])) for label in (False, True)]
    spread = [count / max(count - 1, 1) for count in (*n_patients, int(patient.max()) + 1)]
    variance = (
        spread[0] * float(normal @ normal) / n**2
        + spread[1] * float(abnormal @ abnormal) / m**2
        + 2 * spread[2] * float(normal @ abnormal) / (n * m)
    )
    deviation = math.sqrt(max(variance, 0.0))
    if deviation == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    p_value = math.erfc(abs(value) / deviation / math.sqrt(2))
    return Difference(value, value - 1.96 * deviation, value + 1.96 * deviation, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm, 1979); in their order, each in [0, 1]."""
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted.tolist()


def ranks(figures: Floats) -> Floats:
    """Rank detectors on each set, the best is 1, by figures (sets, detectors), high is good; give the means."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-figures, axis=1).mean(axis=0), dtype=np.float64)


def friedman(figures: Floats) -> float:
    """Return the p-value of all detectors being alike; figures (sets, detectors), NaN below 2 by 3."""
    from scipy.stats import friedmanchisquare

    if figures.shape[0] < 2 or figures.shape[1] < 3 or not np.ptp(figures, axis=1).any():
        return float("nan")
    return float(friedmanchisquare(*figures.T).pvalue)


def critical_difference(n_detectors: int, n_sets: int, alpha: float = 0.05) -> float:
    """Return the difference of mean ranks beyond which two detectors differ (Nemenyi)."""
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - alpha, n_detectors, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(n_detectors * (n_detectors + 1) / (6 * n_sets))


def wilcoxon(figures: Floats, reference: int) -> list[float]:
    """Compare each other detector with the reference over the sets; Holm-adjusted p-values in the order of columns.

    With n sets no p-value is below 2 / 2**n before the adjustment: five sets or fewer show nothing at 0.05.
    """
    from scipy.stats import wilcoxon as signed_ranks

    found = []
    for column in np.delete(figures, reference, axis=1).T:
        apart = figures[:, reference] - column
        found.append(float(signed_ranks(apart, method="exact").pvalue) if apart.any() and len(apart) > 1 else 1.0)
    return holm(found)


def _areas(labelled: Labelled, weights: Floats) -> tuple[Floats, Floats]:
    """Compute AUROC and average precision of each row of image weights (r, n); equal scores are one step."""
    called, found, last = _cumulate(labelled, weights)
    steps = np.diff(found[:, last], prepend=0.0)
    normals = called[:, last] - found[:, last]
    above = normals - np.diff(normals, prepend=0.0) / 2
    auroc = 1 - (steps * above).sum(axis=1) / (found[:, -1] * normals[:, -1])
    precision = found[:, last] / np.maximum(called[:, last], np.finfo(np.float64).tiny)
    return auroc, (steps * precision).sum(axis=1) / found[:, -1]


def _cumulate(labelled: Labelled, weights: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Sum weights of all and of abnormal images from the highest score down; `last` ends each run of equal scores."""
    order = np.argsort(-labelled.scores, kind="stable")
    sorted_scores = labelled.scores[order]
    last = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))
    sorted_weights = weights[:, order]
    return np.cumsum(sorted_weights, axis=1), np.cumsum(sorted_weights * labelled.abnormal[order], axis=1), last


def _band(labelled: Labelled, n_resamples: int, seed: int, precision: bool) -> Band:
    weights = np.vstack([np.ones((1, len(labelled.scores))), labelled.weights(n_resamples, seed)])
    called, found, last = _cumulate(labelled, weights)
    curves = []
    for all_called, all_found in zip(called[:, last], found[:, last], strict=True):
        sensitivity = np.append(0, all_found / all_found[-1])
        if precision:
            exact = np.append(1, all_found / np.maximum(all_called, np.finfo(np.float64).tiny))
            envelope = np.maximum.accumulate(exact[::-1])[::-1]
            curves.append(envelope[np.minimum(np.searchsorted(sensitivity, GRID), len(envelope) - 1)])
        else:
            false_alarms = np.append(0, (all_called - all_found) / (all_called[-1] - all_found[-1]))
            curves.append(np.interp(GRID, false_alarms, sensitivity))
    low, high = np.quantile(np.array(curves[1:]), [0.025, 0.975], axis=0)
    return Band(np.asarray(curves[0]), low, high)


def _components(labelled: Labelled) -> tuple[float, Floats]:
    """Return the AUROC, and by how much each image's own share in it departs from it (placement values)."""
    from scipy.stats import rankdata

    abnormal = labelled.abnormal
    n, m = int((~abnormal).sum()), int(abnormal.sum())
    joint = rankdata(labelled.scores)
    placed = np.empty(len(joint))
    placed[abnormal] = (joint[abnormal] - rankdata(labelled.scores[abnormal])) / n
    placed[~abnormal] = 1 - (joint[~abnormal] - rankdata(labelled.scores[~abnormal])) / m
    area = float(placed[abnormal].mean())
    return area, placed - area


def _metric(figures: Floats) -> Metric:
    low, high = np.quantile(figures[1:], [0.025, 0.975]) if len(figures) > 1 else (np.nan, np.nan)
    return Metric(float(figures[0]), float(low), float(high))
