"""Which mean shift of one image alone goes into the default: every form on the sets of shared/data, as Markdown tables.

Run: python benchmarks/choose_shift.py CACHE_FOLDER

All forms see asinh-compressed features and a Ledoit-Wolf Gaussian; normals follow their own trajectory, test images the
frozen one. Nested choice is the honest figure: of each set in turn, the form that is chosen on the others; the choice
on all sets is the optimistic one. By patients, the mean score of a patient's images counts, where names tell him.

Three rules choose: the mean; the mean gain over no shift less one standard error over the sets; and the best form of
the published steps, unless the best of all has a higher mean by more than one standard error of their difference.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

# The matrices here are small: threads would wait for each other. NumPy reads this as it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets

from msde.benchmark.draws import Subset
from msde.method.density_weights import Weighting, density_weights
from msde.method.gaussian import Gaussian, fit_empirical, fit_ledoit_wolf
from msde.method.mean_shift import Trajectory, shift
from msde.method.metrics import auroc
from msde.method.outliers import LIMIT, outlyingness
from msde.method.standardizer import CompressingStandardizer, Standardizer

NEIGHBORS = (10, 50)
STEPS = (2, 8)
FORMS = ("position", "displacement", "log position + log displacement")
NO_SHIFT = "no shift"
PUBLISHED_STEPS = "k = 50, 8 steps, density weights"
# Beside the choice: what people will ask for.
DISTRUSTED = ", distrusted normals left out"
PUBLISHED_GAUSSIAN = ", published Gaussian (256 axes, empirical)"
PUBLISHED = PUBLISHED_GAUSSIAN + " and features"
BESIDE = (DISTRUSTED, PUBLISHED_GAUSSIAN, PUBLISHED)

Rows = np.ndarray
Scores = list[np.ndarray]  # of the normal and the abnormal test images
Fit = Callable[[Rows], Gaussian]


def scores_by_form(parts: list[Subset]) -> Iterator[tuple[str, Scores]]:
    """Score the test images of a set in every form."""
    rows = [part.rows for part in parts]
    compressed = standardised(CompressingStandardizer, rows)
    yield NO_SHIFT, distances(compressed)
    for weighting in get_args(Weighting):
        for k in NEIGHBORS:
            for steps, moved in shifted(compressed, weighting, k, STEPS):
                position = distances(moved)
                displacement = distances(differences(moved, compressed))
                both = [np.log(one) + np.log(other) for one, other in zip(position, displacement, strict=True)]
                for form, scores in zip(FORMS, (position, displacement, both), strict=True):
                    yield f"{form}, k = {k}, {steps} steps, {weighting} weights", scores
    trusted = outlyingness(compressed[0]) <= LIMIT
    fewer = [compressed[0][trusted], *compressed[1:]]
    yield NO_SHIFT + DISTRUSTED, distances(fewer)
    ((_, moved),) = shifted(fewer, "density", 50, (8,))
    yield f"displacement, {PUBLISHED_STEPS}{DISTRUSTED}", distances(differences(moved, fewer))
    plain = standardised(Standardizer, rows)
    for scaled, name in ((compressed, PUBLISHED_GAUSSIAN), (plain, PUBLISHED)):
        yield NO_SHIFT + name, distances(scaled, fit_empirical)
        ((_, moved),) = shifted(scaled, "density", 50, (8,))
        yield f"position, {PUBLISHED_STEPS}{name}", distances(moved, fit_empirical)


def standardised(kind: type[Standardizer | CompressingStandardizer], rows: list[Rows]) -> list[Rows]:
    standardizer = kind.fit(rows[0])
    return [standardizer.apply(part) for part in rows]


def differences(there: list[Rows], here: list[Rows]) -> list[Rows]:
    return [one - other for one, other in zip(there, here, strict=True)]


def shifted(rows: list[Rows], weighting: Weighting, k: int, steps: tuple[int, ...]) -> Iterator[tuple[int, list[Rows]]]:
    """Move normals and, along their frozen trajectory, test images; give the positions after each number of steps."""
    weights = density_weights(rows[0], weighting)
    trajectory, _, _ = shift(rows[0], weights, n_neighbors=k, max_iter=max(steps), tol=0)
    done = 0
    for goal in steps:
        leg = Trajectory(trajectory.positions[done:goal], trajectory.weights, trajectory.n_neighbors, 0.33)
        rows, done = [leg.follow(part)[0] for part in rows], goal
        yield goal, rows


def distances(rows: list[Rows], fit: Fit = fit_ledoit_wolf) -> Scores:
    """Measure the test images from the Gaussian of the normals."""
    gaussian = fit(rows[0])
    return [gaussian.mahalanobis(part) for part in rows[1:]]


def by_patient(scores: Scores, parts: list[Subset]) -> Scores:
    """Average the scores of each patient's images."""
    averaged = []
    for values, part in zip(scores, parts, strict=True):
        _, patient = np.unique(part.patients, return_inverse=True)
        averaged.append(np.bincount(patient, values) / np.bincount(patient))
    return averaged


def by_mean(gain: np.ndarray, published: np.ndarray) -> int:
    """Choose the row of the largest mean gain over the sets."""
    return int(np.argmax(gain.mean(axis=1)))


def by_lower_bound(gain: np.ndarray, published: np.ndarray) -> int:
    """Choose the row whose mean gain less one standard error is largest."""
    return int(np.argmax(gain.mean(axis=1) - standard_error(gain)))


def by_one_standard_error(gain: np.ndarray, published: np.ndarray) -> int:
    """Choose the best row of the published steps unless the best of all is better by more than one standard error."""
    best = by_mean(gain, published)
    ours = int(published[np.argmax(gain[published].mean(axis=1))])
    lead = gain[best] - gain[ours]
    return best if lead.mean() > standard_error(lead) else ours


def standard_error(gain: np.ndarray) -> np.ndarray:
    return gain.std(axis=-1, ddof=1) / np.sqrt(gain.shape[-1])


Rule = Callable[[np.ndarray, np.ndarray], int]
RULES: dict[str, Rule] = {
    "mean": by_mean,
    "mean less one standard error": by_lower_bound,
    "published steps within one standard error": by_one_standard_error,
}


def nested(gain: np.ndarray, published: np.ndarray, choose: Rule) -> list[int]:
    """Choose a row for each set on the others."""
    return [choose(np.delete(gain, left_out, axis=1), published) for left_out in range(gain.shape[1])]


def of_published_steps(names: list[str]) -> np.ndarray:
    return np.flatnonzero([name.endswith(PUBLISHED_STEPS) for name in names])


def print_choice(names: list[str], table: np.ndarray, unit: str) -> None:
    """Print what nested choice among the shifts gives, and against no shift."""
    none, shifts = table[0], table[1:]
    gain, sets, published = shifts - none, np.arange(len(none)), of_published_steps(names[1:])
    print(f"\nBy {unit}; no shift {none.mean():.4f}:\n")
    columns = ("rule", "chosen on all sets", "AUROC (optimistic)", "AUROC nested", "nested gain over no shift, ± error")
    print(f"| {' | '.join(columns)} | worst, best set | chosen for the sets left out |\n" + "|---" * 7 + "|")
    for rule, choose in RULES.items():
        best, chosen = choose(gain, published), nested(gain, published, choose)
        won = gain[chosen, sets]
        times = ", ".join(f"{chosen.count(row)} x {names[1 + row]}" for row in sorted(set(chosen), key=chosen.count))
        print(
            f"| {rule} | {names[1 + best]} | {shifts[best].mean():.4f} | {shifts[chosen, sets].mean():.4f}"
            f" | {won.mean():+.4f} ± {standard_error(won):.4f} | {won.min():+.3f}, {won.max():+.3f} | {times} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    sets = load_sets(parser.parse_args().cache)
    images: dict[str, list[float]] = {}
    patients: dict[str, list[float]] = {}
    for parts in sets.values():
        for name, scores in scores_by_form(parts):
            images.setdefault(name, []).append(auroc(*scores))
            patients.setdefault(name, []).append(auroc(*by_patient(scores, parts[1:])))
    print("| score | images | patients | gain over no shift, ± standard error | worst, best set |\n" + "|---" * 5 + "|")
    for name in images:
        gain = np.subtract(images[name], images[NO_SHIFT])
        print(
            f"| {name} | {np.mean(images[name]):.4f} | {np.mean(patients[name]):.4f}"
            f" | {gain.mean():+.4f} ± {standard_error(gain):.4f} | {gain.min():+.3f}, {gain.max():+.3f} |"
        )
    eligible = [name for name in images if not name.endswith(BESIDE)]
    for unit, figures in (("images", images), ("patients", patients)):
        print_choice(eligible, np.array([figures[name] for name in eligible]), unit)
    gain = np.array([np.subtract(images[name], images[NO_SHIFT]) for name in eligible[1:]])
    print("\n| set | no shift | " + " | ".join(f"nested, by {rule}" for rule in RULES) + " |")
    print("|---" * (2 + len(RULES)) + "|")
    chosen = [nested(gain, of_published_steps(eligible[1:]), choose) for choose in RULES.values()]
    for column, of_set in enumerate(sets):
        cells = [NO_SHIFT, *(eligible[1 + rows[column]] for rows in chosen)]
        print(f"| {of_set} | " + " | ".join(f"{images[name][column]:.4f}" for name in cells) + " |")


main()
