"""Whether another score than the default's carries over to sets that it was not chosen on, as Markdown tables.

Run: python benchmarks/choose.py CACHE_FOLDER

All candidates score each image alone, from the default's embeddings, those of a second network (EfficientNet-Lite1), or
skewnesses and Gram matrices of the default network's levels. Nested choice is the honest figure: for each set
the candidate with the highest mean AUROC on the other sets, and what it gives on the set left out. The present default
stays unless the nested gain is at least .003 and its interval over sets, of two standard errors, excludes 0.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets, load_third_moments
from table import print_header

from msde.backbones import load_backbone
from msde.benchmark.draws import Subset
from msde.method.calibration import folds
from msde.method.frozen_shift import FrozenShift
from msde.method.gaussian import Gaussian, fit_ledoit_wolf
from msde.method.metrics import auroc
from msde.method.outliers import LIMIT, outlyingness
from msde.method.standardizer import KNEE, Standardizer

LEAST_GAIN = 0.003
LEVELS = 496  # columns of each of the default's three parts: means, deviations, means of the stretched look
SHRINKAGES = np.geomspace(0.001, 0.5, 10)
N_SKEWNESSES = LEVELS  # columns before those of the Gram matrices
DEFAULT = "default: displacement, asinh 2 z, Ledoit-Wolf, all normals"

Array = np.ndarray
Score = Callable[[Array], Array]


def compressing(rows: Array, knee: float | None) -> Score:
    """Return a function that standardises, compresses by asinh unless there is no knee, and standardises again."""
    before = Standardizer.fit(rows)
    if knee is None:
        return before.apply
    after = Standardizer.fit(np.arcsinh(before.apply(rows) / knee))
    return lambda other: after.apply(np.arcsinh(before.apply(other) / knee))


def shifted(rows: Array, knee: float | None = KNEE, n_neighbors: int = 50, n_steps: int = 8) -> Score:
    apply = compressing(rows, knee)
    shift, displacement, axes = FrozenShift.fit(apply(rows), n_neighbors=n_neighbors, n_steps=n_steps)
    gaussian = fit_ledoit_wolf(displacement, axes=axes)
    return lambda other: gaussian.mahalanobis(shift.displacement(apply(other)))


def placed(rows: Array, knee: float | None = KNEE, fit: Callable[[Array], Gaussian] = fit_ledoit_wolf) -> Score:
    apply = compressing(rows, knee)
    gaussian = fit(apply(rows))
    return lambda other: gaussian.mahalanobis(apply(other))


def trusted(rows: Array) -> Score:
    return shifted(rows[outlyingness(compressing(rows, KNEE)(rows)) <= LIMIT])


def of_columns(rows: Array, columns: slice) -> Score:
    score = shifted(rows[:, columns])
    return lambda other: score(other[:, columns])


def summed(*scores: Score) -> Score:
    """Add the logarithms of distances."""
    return lambda other: np.sum([np.log(score(other)) for score in scores], axis=0)


def by_parts(rows: Array) -> Score:
    return summed(*(of_columns(rows, slice(start, start + LEVELS)) for start in range(0, rows.shape[1], LEVELS)))


def nearest(rows: Array) -> Score:
    """Return the mean distance to the three nearest normals."""
    apply = compressing(rows, KNEE)
    normals = apply(rows)

    def score(other: Array) -> Array:
        queries = apply(other)
        squared = (queries**2).sum(axis=1)[:, None] - 2 * queries @ normals.T + (normals**2).sum(axis=1)
        return np.sqrt(np.maximum(np.sort(squared, axis=1)[:, :3], 1e-12)).mean(axis=1)

    return score


def spatial_signs(rows: Array) -> Gaussian:
    """Fit the shape of the directions in which rows lie from their mean; lengths do not count."""
    mean = rows.mean(axis=0, dtype=np.float64)
    offsets = rows - mean
    shape = fit_ledoit_wolf(offsets / np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 1e-12))
    return Gaussian(mean, shape.whitening, shape.outside)


def axes_of(rows: Array) -> tuple[Array, Array, Array]:
    """Return mean, axes as columns and variances."""
    mean = rows.mean(axis=0, dtype=np.float64)
    _, lengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
    apart = lengths > 1e-6 * lengths[0]
    return mean, axes[apart].T, lengths[apart] ** 2 / len(rows)


def cross_validated(rows: Array) -> Gaussian:
    """Shrink by the likelihood of held-out normals."""
    d = rows.shape[1]
    costs = np.zeros(len(SHRINKAGES))
    for fold in list(folds(len(rows)))[::2]:
        mean, axes, variances = axes_of(np.delete(rows, fold, axis=0))
        offsets = rows[fold] - mean
        inside = (offsets @ axes) ** 2
        outside = np.maximum((offsets**2).sum(axis=1) - inside.sum(axis=1), 0)
        for number, share in enumerate(SHRINKAGES):
            floor = share * variances.sum() / d
            kept = (1 - share) * variances + floor
            determinant = np.log(kept).sum() + (d - len(kept)) * np.log(floor)
            costs[number] += len(fold) * determinant + (inside / kept).sum() + outside.sum() / floor
    share = SHRINKAGES[costs.argmin()]
    mean, axes, variances = axes_of(rows)
    floor = share * variances.sum() / d
    return Gaussian(mean, axes / np.sqrt((1 - share) * variances + floor), 1 / floor)


OF_DEFAULT: dict[str, Callable[[Array], Score]] = {
    DEFAULT: shifted,
    "without shift": placed,
    "10 neighbours, 2 steps": lambda rows: shifted(rows, n_neighbors=10, n_steps=2),
    "asinh 4 z": lambda rows: shifted(rows, knee=KNEE / 2),
    "asinh z": lambda rows: shifted(rows, knee=1),
    "no asinh": lambda rows: shifted(rows, knee=None),
    "distrusted normals left out": trusted,
    "means of the plain look alone": lambda rows: of_columns(rows, slice(LEVELS)),
    "means and deviations of the plain look": lambda rows: of_columns(rows, slice(2 * LEVELS)),
    "sum of log distances of the three parts": by_parts,
    "log default + log of it without asinh": lambda rows: summed(shifted(rows), shifted(rows, knee=None)),
    "log default + log without shift": lambda rows: summed(shifted(rows), placed(rows)),
    "log default + log nearest normals": lambda rows: summed(shifted(rows), nearest(rows)),
    "nearest normals": nearest,
    "spatial signs, without shift": lambda rows: placed(rows, fit=spatial_signs),
    "shrinkage by cross-validation, without shift": lambda rows: placed(rows, fit=cross_validated),
}

# From embeddings of the default, of the second network and of both side by side, skewnesses, and Gram matrices.
WITH_OTHERS: dict[str, Callable[..., Sequence[Score | None]]] = {
    "EfficientNet-Lite1": lambda own, other, both, skew, gram: [None, shifted(other), None, None, None],
    "default beside EfficientNet-Lite1": lambda own, other, both, skew, gram: [None, None, shifted(both), None, None],
    "log default + log EfficientNet-Lite1": lambda own, other, *_: [shifted(own), shifted(other), None, None, None],
    "log default + log skewnesses": lambda own, other, both, skew, gram: [
        shifted(own),
        None,
        None,
        shifted(skew),
        None,
    ],
    "log default + log Gram": lambda own, other, both, skew, gram: [shifted(own), None, None, None, shifted(gram)],
}


def seen(own: Subset, other: Subset, third: Subset) -> list[Array]:
    """Give what `WITH_OTHERS` takes of one part of a set."""
    skewnesses, grams = third.rows[:, :N_SKEWNESSES], third.rows[:, N_SKEWNESSES:]
    return [own.rows, other.rows, np.hstack([own.rows, other.rows]), skewnesses, grams]


def log_distance(scores: Sequence[Score | None], rows: Sequence[Array]) -> Array:
    """Add the logarithms of distances, each of its own rows."""
    pairs = zip(scores, rows, strict=True)
    return np.sum([np.log(score(of)) for score, of in pairs if score is not None], axis=0)


def spread(gain: Array) -> float:
    """Return two standard errors over the sets."""
    return float(2 * gain.std(ddof=1) / np.sqrt(len(gain)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    cache = parser.parse_args().cache
    own, other, third = (
        load_sets(cache),
        load_sets(cache, backbone=load_backbone("efficientnet_lite1")),
        load_third_moments(cache),
    )
    names = [*OF_DEFAULT, *WITH_OTHERS]
    table = np.empty((len(names), len(own)))
    for column, name in enumerate(own):
        train, *tested = map(seen, own[name], other[name], third[name])
        for row, fit in enumerate(OF_DEFAULT.values()):
            score = fit(train[0])
            table[row, column] = auroc(*(score(rows[0]) for rows in tested))
        for row, fits in enumerate(WITH_OTHERS.values(), len(OF_DEFAULT)):
            scores = fits(*train)
            table[row, column] = auroc(*(log_distance(scores, rows) for rows in tested))
    gain = table - table[0]
    print_header("score", ["AUROC", "gain over the default (two standard errors)", "worst, best set"])
    for name, figures, won in zip(names, table, gain, strict=True):
        gained = f"{won.mean():+.4f} ± {spread(won):.4f}"
        print(f"| {name} | {figures.mean():.4f} | {gained} | {won.min():+.3f}, {won.max():+.3f} |")
    print_nested("the default's embeddings alone", table[: len(OF_DEFAULT)], names)
    print_nested("all", table, names)


def print_nested(among: str, table: Array, names: Sequence[str]) -> None:
    """Print what the choice on the other sets gives on each set, (candidates, sets), and whether that is enough."""
    n_sets = table.shape[1]
    chosen = [int(np.delete(table, column, axis=1).mean(axis=1).argmax()) for column in range(n_sets)]
    won = table[chosen, np.arange(n_sets)] - table[0]
    print(f"\nNested choice among {among}: {(table[0] + won).mean():.4f}, gain {won.mean():+.4f} ± {spread(won):.4f}")
    print("Chosen:", ", ".join(f"{chosen.count(row)} x {names[row]}" for row in sorted(set(chosen))))
    enough = won.mean() >= LEAST_GAIN and won.mean() > spread(won)
    print("That would change the default." if enough else "That does not change the default.")


main()
