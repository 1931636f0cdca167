"""What can be said of figures: bands over patients, tests for pairs of detectors, and over sets.

Bands: percentile bootstrap over patients (Efron and Tibshirani, 1993, chapter 13). Pairs on one set: DeLong, DeLong
and Clarke-Pearson (Biometrics 44:837, 1988), in Obuchowski's form for several images of a patient (Biometrics 53:567,
1997). Over sets: Friedman, Nemenyi's critical difference, and Wilcoxon's signed ranks with Holm's correction (Demsar,
JMLR 7:1, 2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from msde.method.labelled import Floats, Labelled, cumulate

GRID = np.linspace(0, 1, 101)


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


def _band(labelled: Labelled, n_resamples: int, seed: int, precision: bool) -> Band:
    weights = np.vstack([np.ones((1, len(labelled.scores))), *labelled.resampled(n_resamples, seed)])
    called, found, last = cumulate(labelled, weights)
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
