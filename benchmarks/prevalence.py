"""What an unlabelled pool gives, against the share of abnormal images in it or in the scored batch; Markdown tables.

Run: python benchmarks/prevalence.py CACHE_FOLDER [--draws 5] [--transductive] [--rates] [--all-sets] [--labels K]

Protocol, per set and draw: the patients of the test images are split in halves. One half is the source of the pool, the
other is scored. The pool has as many rows as possible at the stated share. The modes that score one image at a time
score the whole other half; with --transductive the published method does too, on batches drawn from the other half at
the same share (several a draw). --all-sets prints each set. --rates prints false-alarm rates and sensitivities in place
of AUROCs.

The second table has pools whose normals differ from the training normals: see benchmarks/pools.py. --labels prints it
for K labelled abnormals of patients who are neither in the pool nor scored: what the pool adds to labels alone, its
direction believed by its own evidence, or as far as the labels confirm it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import Sets, load_sets
from pools import NO_HARM, SHARES, Case, cases, whitening
from protocol import Score, mixture, plain

from msde import MeanShiftEnhancer, MSDEDetector
from msde.benchmark.draws import Subset, halves
from msde.method.gaussian import Gaussian
from msde.method.inductive_fit import fit_inductive
from msde.method.labelled_fit import HeldOutNormals
from msde.method.metrics import auroc
from msde.method.scorers import InductiveScorer
from msde.method.unlabelled_pool import confirmed, fit_direction

BATCHES = (8, 4, 3, 2, 1)  # transductive batches a draw: fewer abnormals a batch, more batches
ALONE = ("plain Gaussian", "inductive", "adaptive")
LABELLED = ("labels alone", "by its evidence", "as labels confirm")
OFFICIAL = "official transductive"
MOVED = "us_lung_pocus"


def adapted(pool: np.ndarray) -> Score:
    """Return the score of white rows that adaptive mode has with a pool of such rows."""
    dim = pool.shape[1]
    direction = fit_direction(Gaussian(np.zeros(dim), np.eye(dim)), pool)
    return lambda white: length(white) + (direction.weight or 0) * direction.along(white)


def length(white: np.ndarray) -> np.ndarray:
    return np.linalg.norm(white, axis=1)


def transductive(detector: MSDEDetector, rng: np.random.Generator, scored: list[Subset], share: float, n: int) -> float:
    found = []
    for _ in range(n):
        normal, abnormal = mixture(rng, scored, share)
        order = rng.permutation(len(normal) + len(abnormal))
        scores = np.empty(len(order))
        scores[order] = detector.anomaly_score(np.vstack([normal, abnormal])[order])
        found.append(auroc(scores[: len(normal)], scores[len(normal) :]))
    return float(np.mean(found))


def measure_official(parts: list[Subset], draws: int) -> np.ndarray:
    """Return AUROCs of the published method, (share,)."""
    train, *tested = parts
    official = MSDEDetector("transductive", enhancer=MeanShiftEnhancer(weighting="published")).fit(train.rows)
    found = np.empty((len(SHARES), draws))
    for draw in range(draws):
        for row, (share, batches) in enumerate(zip(SHARES, BATCHES, strict=True)):
            rng = np.random.default_rng(draw)
            _, scored = halves(rng, *tested)
            found[row, draw] = transductive(official, rng, scored, share, batches)
    return found.mean(axis=1)


def measure(case: Case, alone: InductiveScorer, draws: int) -> np.ndarray:
    """Return AUROCs of shape (method, share), means over draws."""
    simple, white = case.seen_by(plain(case.train.rows)), case.seen_by(whitening(alone))
    figures = np.empty((len(ALONE), len(SHARES), draws))
    for column, share in enumerate(SHARES):
        for draw, (_, scored) in enumerate(simple.draws(share, draws)):
            figures[0, column, draw] = auroc(*scored)
        for draw, (pool, scored) in enumerate(white.draws(share, draws)):
            for method, score in enumerate((length, adapted(pool)), start=1):
                figures[method, column, draw] = auroc(*map(score, scored))
    return figures.mean(axis=2)


def measure_labels(case: Case, held_out: HeldOutNormals, draws: int, k: int) -> np.ndarray:
    """Return AUROCs of shape (method, share): labels alone, with the pool by its evidence, and as labels confirm."""
    scorer, dim = held_out.scorer, case.train.rows.shape[1]
    white = whitening(scorer)
    twice = case.seen_by(lambda rows: np.hstack([rows, white(rows)]))
    unit = Gaussian(np.zeros(dim), np.eye(dim))
    figures = np.full((len(LABELLED), len(SHARES), draws), np.nan)
    for column, share in enumerate(SHARES):
        for draw, (labels, pool, scored) in enumerate(twice.labelled_draws(share, draws, k)):
            _, patients = np.unique(labels.patients, return_inverse=True)
            direction = fit_direction(unit, pool[:, dim:])
            trusted = confirmed(unit, pool[:, dim:], labels.rows[:, dim:], patients)
            alone = held_out.with_labels(labels.rows[:, :dim], patients).scorer
            base = [alone.score(rows[:, :dim]) for rows in scored]
            for method, trust in enumerate((0.0, 1.0, trusted)):
                weight = trust * (direction.weight or 0)
                scores = (own + weight * direction.along(rows[:, dim:]) for own, rows in zip(base, scored, strict=True))
                figures[method, column, draw] = auroc(*scores)
    return np.nanmean(figures, axis=2)


def print_labels(sets: Sets, draws: int, k: int) -> None:
    """Print what a pool adds to labels."""
    fitted, found = None, []
    for case in cases(sets):
        if fitted is not case.train:
            fitted = case.train
            groups = np.unique(fitted.patients, return_inverse=True)[1]
            held_out = HeldOutNormals.fit(fitted.rows, fit_inductive, groups)
        found.append((case.kind, measure_labels(case, held_out, draws, k)))
    print(header(f"added to {k} labels, pool", "direction"))
    for kind, name in (("own", "own"), ("other set", "of another set"), ("part", "own, fitted to a part")):
        gain = np.array([table - table[0] for of, table in found if of == kind])
        for method in (1, 2):
            for figure, summary in (("mean", gain[:, method].mean(axis=0)), ("worst", gain[:, method].min(axis=0))):
                print(row(f"{name} ({len(gain)}): {figure}", LABELLED[method], *(f"{cell:+.4f}" for cell in summary)))


def measure_rates(case: Case, draws: int) -> np.ndarray:
    """Return false-alarm rate and sensitivity at .05, (mode, 2, share), of patients who are not in the pool."""
    _, patients = np.unique(case.train.patients, return_inverse=True)
    inductive = MSDEDetector().fit(case.train.rows, groups=patients)
    found = np.empty((2, 2, len(SHARES), draws))
    for column, share in enumerate(SHARES):
        for draw, (pool, scored) in enumerate(case.draws(share, draws)):
            adaptive = MSDEDetector("adaptive").fit(case.train.rows, unlabelled=pool, groups=patients)
            for row, detector in enumerate((inductive, adaptive)):
                found[row, :, column, draw] = [np.mean(detector.predict(part) < 0) for part in scored]
    return found.mean(axis=3)


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def header(*names: str) -> str:
    columns = [*names, *(f"{share:.0%}" for share in SHARES)]
    return f"{row(*columns)}\n{'|---' * len(columns)}|"


def print_own(sets: Sets, tables: dict[str, np.ndarray], arguments: argparse.Namespace) -> None:
    """Print AUROCs with pools of the sets themselves; `tables` has (method, share) of each set."""
    print(header("set", "method"))
    if arguments.all_sets:
        for name, table in tables.items():
            for method, cells in zip(ALONE, table, strict=True):
                print(row(name, method, *(f"{cell:.3f}" for cell in cells)))
    means = np.mean(list(tables.values()), axis=0)
    for method, cells in zip(ALONE, means, strict=True):
        print(row(f"**mean of {len(tables)}**", method, *(f"{cell:.4f}" for cell in cells)))
    if arguments.transductive:
        official = np.mean([measure_official(parts, arguments.draws) for parts in sets.values()], axis=0)
        print(row(f"**mean of {len(tables)}**", OFFICIAL, *(f"{cell:.4f}" for cell in official)))


def print_moved(found: list[tuple[Case, np.ndarray]]) -> None:
    """Print what adaptive mode gains over inductive where the pool's normals differ."""
    low = len(NO_HARM)
    print(f"\n{header('adaptive minus inductive, pool', 'sets')}")
    groups = {
        "own": [(case, table) for case, table in found if case.kind == "own"],
        f"own, {MOVED} alone": [(case, table) for case, table in found if case.kind == "own" and case.set == MOVED],
        "of another set of the modality": [(case, table) for case, table in found if case.kind == "other set"],
        "own, fitted to a part of the normals": [(case, table) for case, table in found if case.kind == "part"],
    }
    for name, members in groups.items():
        gain = np.array([table[2] - table[1] for _, table in members])
        print(row(f"{name}: mean", len(gain), *(f"{cell:+.4f}" for cell in gain.mean(axis=0))))
        print(row(f"{name}: worst", len(gain), *(f"{cell:+.4f}" for cell in gain.min(axis=0))))
        at = np.unravel_index(gain[:, :low].argmin(), gain[:, :low].shape)[0]
        print(f"<!-- worst at 1 to 20 %: {members[at][0].set}, pool of {members[at][0].other} -->")


def print_rates(sets: Sets, arguments: argparse.Namespace) -> None:
    """Print false-alarm rates and sensitivities of both modes, calibrated as they come."""
    print(header("set", "at a target of .05"))
    rates = {}
    for case in cases(sets):
        if case.kind == "own":
            rates[case.set] = measure_rates(case, arguments.draws)
            for mode, cells in zip(("inductive", "adaptive"), rates[case.set], strict=True):
                if arguments.all_sets:
                    numbers = (f"{cell:.3f}" for cell in cells[0])
                    print(row(case.set, f"false-alarm rate, {mode}", *numbers), flush=True)
    means = np.mean(list(rates.values()), axis=0)
    for kind, name in enumerate(("false-alarm rate", "sensitivity")):
        for mode, cells in zip(("inductive", "adaptive"), means, strict=True):
            print(row(f"**mean of {len(rates)}**", f"{name}, {mode}", *(f"{cell:.3f}" for cell in cells[kind])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    for option in ("--transductive", "--rates", "--all-sets"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("--labels", type=int, metavar="K")
    arguments = parser.parse_args()
    sets = load_sets(arguments.cache)
    if arguments.labels:
        print_labels(sets, arguments.draws, arguments.labels)
        return
    if arguments.rates:
        print_rates(sets, arguments)
        return
    found, fitted, alone = [], None, None
    for case in cases(sets):
        if fitted is not case.train:
            fitted, alone = case.train, MSDEDetector().fit(case.train.rows).scorer_
        found.append((case, measure(case, alone, arguments.draws)))
    print_own(sets, {case.set: table for case, table in found if case.kind == "own"}, arguments)
    print_moved(found)


main()
