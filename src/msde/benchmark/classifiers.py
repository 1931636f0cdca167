"""Rivals that learn from labelled abnormal rows: each takes normals (n, d) and labels (k, d) in standard units.

Each gives a function that scores rows (m, d) alone: the higher, the more like the labels and the less like the normals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.method.gaussian import fit_ledoit_wolf

NEAREST_NORMALS = 3
RIDGE = 1e-3  # scikit-learn's C, of both classes at the same weight
_TINY_VARIANCE = 1e-9  # of the largest

Rows = NDArray[Any]
Oddness = Callable[[Rows], Rows]


def logistic_regression(normals: Rows, labels: Rows) -> Oddness:
    """Fit a ridged logistic regression, both classes with the same weight.

    It is fitted in the space that the rows span, which is smaller and gives the same.
    """
    from sklearn.linear_model import LogisticRegression

    rows = np.vstack([normals, labels]).astype(np.float64)
    centre = rows.mean(axis=0)
    squares, sides = np.linalg.eigh((rows - centre) @ (rows - centre).T)
    spanned = squares > _TINY_VARIANCE * squares[-1]
    axes = (rows - centre).T @ (sides[:, spanned] / np.sqrt(squares[spanned]))
    model = LogisticRegression(C=RIDGE, class_weight="balanced", max_iter=500)
    model.fit((rows - centre) @ axes, np.arange(len(rows)) >= len(normals))
    weights = axes @ model.coef_[0]
    return lambda scored: scored @ weights


def discriminant(normals: Rows, labels: Rows) -> Oddness:
    """Project on Fisher's linear discriminant, with a Ledoit-Wolf covariance of both classes around their means."""
    means = [rows.mean(axis=0, dtype=np.float64) for rows in (normals, labels)]
    within = fit_ledoit_wolf(np.vstack([rows - mean for rows, mean in zip((normals, labels), means, strict=True)]))
    axis = within.gradient((means[1] - means[0] + within.mean)[None])[0]
    return lambda scored: scored @ axis


def nearest_labelled(normals: Rows, labels: Rows) -> Oddness:
    """Subtract the distance to the nearest label from the mean one to the three nearest normals."""
    few = min(NEAREST_NORMALS, len(normals))

    def score(scored: Rows) -> Rows:
        to_normals = np.sort(_distances(scored, normals), axis=1)[:, :few].mean(axis=1)
        return np.asarray(to_normals - _distances(scored, labels).min(axis=1))

    return score


def _distances(rows: Rows, others: Rows) -> Rows:
    rows, others = rows.astype(np.float64), others.astype(np.float64)
    squared = (rows**2).sum(axis=1)[:, None] - 2 * rows @ others.T + (others**2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0)))
