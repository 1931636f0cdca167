"""Table D: other weights of the transductive shift, on whole test sets; all other steps as published.

The test rows are in random order, for the published weights depend on the order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from embeddings import FIRST_LOOKS, load_sets
from protocol import Score, plain
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from table import print_header, print_ideas, print_row

from msde.benchmark.draws import Subset
from msde.method.density_weights import density_weights
from msde.method.fuzzy_graph import fuzzy_graph
from msde.method.gaussian import fit_empirical
from msde.method.mean_shift import shift
from msde.method.metrics import auroc
from msde.method.standardizer import Standardizer

K = 15
Weigh = Callable[[np.ndarray], np.ndarray]


def spacing(rows: np.ndarray) -> np.ndarray:
    """Measure the mean distance of each row to its nearest others."""
    return NearestNeighbors(n_neighbors=K - 1).fit(rows).kneighbors()[0].mean(axis=1)


def rank(values: np.ndarray) -> np.ndarray:
    return (np.argsort(np.argsort(values, kind="stable"), kind="stable") + 1) / len(values)


def kernel(rows: np.ndarray) -> np.ndarray:
    return np.exp(-((pairwise_distances(rows) / np.median(spacing(rows))) ** 2) / 2).sum(axis=1)


def in_random_order(weigh: Weigh) -> Weigh:
    def weights(rows: np.ndarray) -> np.ndarray:
        order = np.random.default_rng(1).permutation(len(rows))
        found = np.empty(len(rows))
        found[order] = weigh(rows[order])
        return found

    return weights


IDEAS: dict[str, Weigh] = {
    "uniform": lambda rows: density_weights(rows, "uniform"),
    "published": lambda rows: density_weights(rows, "published"),
    "published, normals and test rows in one random order": in_random_order(
        lambda rows: density_weights(rows, "published")
    ),
    "density (as the authors state it)": lambda rows: density_weights(rows, "density"),
    "1 / distance to 14 neighbours": lambda rows: 1 / spacing(rows),
    "degree in the fuzzy graph": lambda rows: np.asarray(fuzzy_graph(rows).sum(axis=1)).ravel(),
    "kernel density": kernel,
    "rank of that distance, dense rows high": lambda rows: rank(-spacing(rows)),
    "rank of that distance, sparse rows high": lambda rows: rank(spacing(rows)),
}


def measure(weigh: Weigh, parts: list[Subset]) -> float:
    train, normal, abnormal = (part.rows for part in parts)
    standardizer = Standardizer.fit(train)
    normals = standardizer.apply(train)
    _, shifted, _ = shift(normals, weigh(normals))
    gaussian = fit_empirical(shifted)
    order = np.random.default_rng(0).permutation(len(normal) + len(abnormal))
    union = np.vstack([normals, standardizer.apply(np.vstack([normal, abnormal]))[order]])
    _, shifted, _ = shift(union, weigh(union))
    scores = np.empty(len(order))
    scores[order] = gaussian.mahalanobis(shifted[len(normals) :])
    return auroc(scores[: len(normal)], scores[len(normal) :])


def unshifted(normals: np.ndarray) -> Score:
    standardizer = Standardizer.fit(normals)
    gaussian = fit_empirical(standardizer.apply(normals))
    return lambda rows: gaussian.mahalanobis(standardizer.apply(rows))


def print_table(cache: Path) -> None:
    sets = load_sets(cache, FIRST_LOOKS)
    print_header("weights", (*sets, "mean"))
    print_ideas({"**plain Gaussian** (no shift, Ledoit-Wolf)": plain, "no shift, published Gaussian": unshifted}, sets)
    for name, weigh in IDEAS.items():
        print_row(name, [measure(weigh, parts) for parts in sets.values()])
