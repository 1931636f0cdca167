"""What a handful of labelled abnormal images is worth, and what is forgotten of kinds without labels, as tables.

Run: python benchmarks/labels.py CACHE_FOLDER [--draws 10]

Each draw halves the patients of a set's abnormal images: labels come from one half, what is scored is of the other, and
no scored normal is of a patient who may be labelled. The first k of the shuffled labels are learnt from, so a draw's
labels grow. Scales come from held-out normals, by fits that did not see their patient. One class is the default
detector, which no label reaches.

Open set: labels of one kind, scored are the other kinds. Kinds are those of the file names, or, of two sets pooled, the
set. Figures are the change of AUROC against one class.

The rule's constants are chosen for each set on the others, pooled sets with it left out: the highest AUROC over all k
where one abnormal image in five is of an unlabelled kind, among the choices that lose at most .01 on any of these sets
at any k, and at most .02 on kinds without labels. A table tells how the choice depends on that share. Ridge and
concentration are as chosen before.

--rule leaves out the rivals.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import PARTS, PLANS, SHARED, Sets, load_sets
from table import print_header

from msde.benchmark.classifiers import Oddness, discriminant, logistic_regression, nearest_labelled
from msde.benchmark.draws import Subset
from msde.images import find_images
from msde.method import labelled_abnormals, weighing
from msde.method.calibration import folds
from msde.method.discriminant import Discriminant
from msde.method.inductive_fit import fit_inductive
from msde.method.labelled_abnormals import Blend, Likeness, gate, soft_mean
from msde.method.labelled_fit import HeldOutNormals
from msde.method.metrics import auroc
from msde.method.surroundings import relative
from msde.method.weighing import Weighing

KS = (1, 3, 5, 10, 20, 50)
OPEN_KS = (3, 10, 50)
GOALS = (0.0, 0.84, 0.0, 0.875, 0.89, 0.905)
PAIRS = (
    ("fundus_idrid_dr", "fundus_odir_glaucoma"),
    ("brain_mri_nickparvar", "lgg_flair_hemispheres"),
    ("ct_covid_sarscov2", "ct_ich_phe"),
    ("nih_cxr_pneumonia", "xray_knee_osteoarthritis"),
    ("histology_oral_oscc", "cytology_sipakmed_cervix"),
    ("otoscopy_otitis", "colonoscopy_polyp_tiles"),
    ("busi_ultrasound", "us_lung_pocus"),
    ("bloodsmear_leukemia", "mri_dwi_stroke"),
)
POOLED_SIZES = (200, 120, 120)  # of each of the two sets: training normals, test normals, test abnormals
TOLERATED = (0.01, 0.02)  # on any set: of labelled kinds, of the others
SHARES = (0.0, 0.2, 1 / 3)  # of unlabelled kinds among abnormal images
UNLABELLED = 0.2  # where constants are chosen

SLOPES = (1.0, 1.25, 1.5)
KNOWN_AFTER = (10.0, 20.0)
MOST_KNOWN = (0.7, 0.85, 1.0)
HALF_SHUT = (0.2, 0.25, np.inf)
COMPARED = (True, False)
DISCRIMINATING_AFTER = (np.inf, 20.0, 10.0)
GRID = tuple(product(COMPARED, DISCRIMINATING_AFTER, SLOPES, HALF_SHUT, KNOWN_AFTER, MOST_KNOWN))
SHIPPED = (
    True,
    weighing.DISCRIMINATING_AFTER,
    labelled_abnormals.SLOPE,
    labelled_abnormals.HALF_SHUT,
    labelled_abnormals.KNOWN_AFTER,
    labelled_abnormals.MOST_KNOWN,
)

Array = np.ndarray
Scores = tuple[Array, Array]  # of the scored normals and abnormals


@dataclass(frozen=True)
class Measured:
    """A set's images as seen by the fits: distances of held-out normals, test normals and abnormals, and cosines."""

    distances: tuple[Array, Array, Array]
    cosines: tuple[Array, Array, Array]  # columns are all abnormals
    near: tuple[Array, Array, Array]  # numbers of the normals near by
    along: tuple[Array, Array]  # whitened displacements of test normals and abnormals times those of the abnormals
    rows: tuple[Array, Array, Array]  # standardised training normals, test normals, abnormals
    # of each fold the numbers of its normals, these, the other normals and the abnormals, standardised by the others
    folds: list[tuple[Array, Array, Array, Array]]
    patients: tuple[Array, Array]  # of test normals and abnormals
    kinds: Array | None


@dataclass(frozen=True)
class Task:
    """Rows of abnormals that are labelled, and which normals and abnormals are scored."""

    labels: Array
    normal: Array
    abnormal: Array


def measure(parts: list[Subset], kinds: Array | None) -> Measured:
    train, normal, abnormal = parts
    fit = fit_inductive(train.rows)
    standard = [fit.standardizer.apply(part.rows) for part in parts]
    offsets = [fit.measured(part.rows) - fit.gaussian.mean for part in parts[1:]]
    gradient = fit.gaussian.gradient(offsets[1] + fit.gaussian.mean)
    held_out = HeldOutNormals.fit(train.rows, fit_inductive, np.unique(train.patients, return_inverse=True)[1])
    cosines = np.empty((len(train), len(abnormal)))
    few = min(fold.near.shape[1] for fold in held_out.folds)
    near = np.empty((len(train), few), dtype=int)
    for fold in held_out.folds:
        cosines[fold.rows], near[fold.rows] = fold.cosines(abnormal.rows), fold.near[:, :few]
    like, places = Likeness.seen_from(held_out.gaussian, standard[2]), held_out.surroundings
    return Measured(
        (held_out.distances, fit.score(normal.rows), fit.score(abnormal.rows)),
        (cosines, like.cosines(standard[1]), like.cosines(standard[2])),
        (near, places.near(standard[1]), places.near(standard[2])),
        (offsets[0] @ gradient.T, offsets[1] @ gradient.T),
        (standard[0], standard[1], standard[2]),
        [
            (
                fold.rows,
                fold.standard,
                fold.standardizer.apply(np.delete(train.rows, fold.rows, axis=0)),
                fold.standardizer.apply(abnormal.rows),
            )
            for fold in held_out.folds
        ],
        (normal.patients, abnormal.patients),
        kinds,
    )


def halved(of: Measured, draw: int) -> tuple[Array, Array, Array]:
    """Draw rows that may be labelled, shuffled, and those of normals and abnormals that are scored."""
    patients = np.random.default_rng(draw // 2).permutation(np.unique(of.patients[1]))
    first = np.isin(of.patients[1], patients[: len(patients) // 2])
    pool = first if draw % 2 == 0 else ~first
    shuffled = np.random.default_rng(draw).permutation(np.flatnonzero(pool))
    return shuffled, np.flatnonzero(~np.isin(of.patients[0], of.patients[1][pool])), np.flatnonzero(~pool)


def closed_tasks(of: Measured, draws: int) -> Iterator[tuple[int, Task]]:
    for draw in range(draws):
        shuffled, normal, abnormal = halved(of, draw)
        for k in KS:
            yield k, Task(shuffled[:k], normal, abnormal)


def open_tasks(of: Measured, draws: int) -> Iterator[tuple[int, str, Task]]:
    """Give k, the labelled kind, and a task that scores the other kinds."""
    kinds = np.asarray(of.kinds)
    for draw in range(draws):
        shuffled, normal, abnormal = halved(of, draw)
        for kind in np.unique(kinds):
            for k in OPEN_KS:
                labels = shuffled[kinds[shuffled] == kind][:k]
                yield k, str(kind), Task(labels, normal, abnormal[kinds[abnormal] != kind])


def one_class(of: Measured, task: Task) -> Scores:
    return of.distances[1][task.normal], of.distances[2][task.abnormal]


def untuned(of: Measured, task: Task) -> Scores:
    """Add the whitened mean of the labels as a direction, by the weight k / (k + 10)."""
    k = len(task.labels)
    length = np.sqrt(of.along[1][np.ix_(task.labels, task.labels)].mean())
    along = [products[:, task.labels].mean(axis=1) / length for products in of.along]
    normal, abnormal = (
        distances + k / (k + 10) * values for distances, values in zip(of.distances[1:], along, strict=True)
    )
    return normal[task.normal], abnormal[task.abnormal]


def classified(learn: Callable[[Array, Array], Oddness], of: Measured, task: Task) -> Scores:
    """Score by a rival that learns from normals and labels alone."""
    score = learn(of.rows[0], of.rows[2][task.labels])
    return score(of.rows[1][task.normal]), score(of.rows[2][task.abnormal])


RIVALS: dict[str, Callable[[Measured, Task], Scores]] = {
    "one class": one_class,
    "untuned formula": untuned,
    "logistic regression": partial(classified, logistic_regression),
    "shrunk LDA": partial(classified, discriminant),
    "nearest labelled": partial(classified, nearest_labelled),
}


def log_odds(of: Measured, task: Task) -> list[Array]:
    """Compute the discriminant's log odds of training normals, held out, and of the scored normals and abnormals."""
    held_out = np.empty(len(of.rows[0]))
    for rows, standard, others, abnormal in of.folds:
        held_out[rows] = Discriminant.fit(others, abnormal[task.labels]).of(standard)
    whole = Discriminant.fit(of.rows[0], of.rows[2][task.labels])
    return [held_out, whole.of(of.rows[1][task.normal]), whole.of(of.rows[2][task.abnormal])]


def by_choice(of: Measured, task: Task) -> Iterator[Scores]:
    """Score by the rule with each choice of the grid."""
    n_patients = len(np.unique(of.patients[1][task.labels]))
    chosen = slice(None), task.normal, task.abnormal
    likeness = [soft_mean(cosines[rows][:, task.labels]) for cosines, rows in zip(of.cosines, chosen, strict=True)]
    usual, odds = likeness[0], log_odds(of, task)
    opening = {half: gate(of.distances[0], of.cosines[0][:, task.labels], n_patients, half) for half in HALF_SHUT}
    nearby = [near[rows] for near, rows in zip(of.near, chosen, strict=True)]
    for compared, after in product(COMPARED, DISCRIMINATING_AFTER):
        like, told = likeness, odds
        if compared:
            pairs = zip(likeness, nearby, strict=True)
            like = [relative(own, usual[near], usual.var()) for own, near in pairs]
            told = [own - odds[0][near].mean(axis=1) for own, near in zip(odds, nearby, strict=True)]
        scales = Weighing.fit(like[0], told[0], n_patients, after)
        weighed = [scales.of(*both) for both in zip(like, told, strict=True)]
        for slope, half, known_after, most in product(SLOPES, HALF_SHUT, KNOWN_AFTER, MOST_KNOWN):
            blend = Blend.fit(
                of.distances[0], weighed[0], n_patients, scales.slope(slope) * opening[half], known_after, most
            )
            yield (
                blend.score(of.distances[1][task.normal], weighed[1]),
                blend.score(of.distances[2][task.abnormal], weighed[2]),
            )


# By set and k, of each draw the AUROC of each rival, then of each choice.
Figures = dict[tuple[str, int], list[Array]]


def figures(of: Measured, task: Task) -> Array:
    rivals = [auroc(*rival(of, task)) for rival in RIVALS.values()]
    return np.array([*rivals, *(auroc(*scores) for scores in by_choice(of, task))])


def kinds_of(name: str) -> Array | None:
    plan = PLANS[name]
    if plan.kind is None:
        return None
    return np.array([plan.kind_of(Path(path).name) for path in find_images([SHARED / "data" / name / PARTS[2]])])


def pooled(sets: Sets, pair: tuple[str, str]) -> tuple[list[Subset], Array]:
    """Pool some images of two sets; the kind of an abnormal image is its set."""
    parts, kinds = [], np.empty(0, dtype=str)
    for number, size in enumerate(POOLED_SIZES):
        some = []
        for name in pair:
            of_set = sets[name][number]
            some.append(of_set.where(np.sort(np.random.default_rng(0).permutation(len(of_set))[:size])))
        patients = [np.char.add(name, part.patients.astype(str)) for name, part in zip(pair, some, strict=True)]
        parts.append(Subset(np.vstack([part.rows for part in some]), np.concatenate(patients)))
        kinds = np.repeat(pair, [len(part) for part in some])
    return parts, kinds


def print_farness(sets: Sets) -> None:
    """Print how far abnormal images lie, of the set itself and of the others, over held-out normals; medians."""
    print("\nDistance of abnormal images over that of held-out normals, medians\n")
    print_header("set", ["its own", "nearest, farthest other set"])
    for name, (train, _, abnormal) in sets.items():
        groups = np.unique(train.patients, return_inverse=True)[1]
        held_out = np.concatenate(
            [
                fit_inductive(np.delete(train.rows, fold, axis=0)).score(train.rows[fold])
                for fold in folds(len(train), groups)
            ]
        )
        score, middle = fit_inductive(train.rows).score, float(np.median(held_out))
        others = [float(np.median(score(parts[2].rows))) / middle for other, parts in sets.items() if other != name]
        own = float(np.median(score(abnormal.rows))) / middle
        print(f"| {name} | {own:.2f} | {min(others):.2f}, {max(others):.2f} |")


def means(found: Figures, k: int) -> tuple[list[str], Array]:
    """Give the sets and the mean over draws of each, (sets, rules)."""
    names = [name for name, of_k in found if of_k == k]
    return names, np.array([np.mean(found[name, k], axis=0) for name in names])


def choose(tables: Sequence[Array], share: float) -> int:
    """Choose a rule by gains (sets, k, choices): of labelled kinds, of the other kinds of a set, and of pooled sets."""
    closed, opened, pools = tables
    losses = zip((closed, opened), TOLERATED, strict=True)
    lost = np.sum([np.maximum(-table.min(axis=(0, 1)) - most, 0) for table, most in losses], axis=0)
    unlabelled = np.concatenate([opened, pools]).mean(axis=(0, 1))
    gain = (1 - share) * closed.mean(axis=(0, 1)) + share * unlabelled
    return int(np.argmax(np.where(lost, -1 - lost, gain)))


def gains(found: Figures, ks: tuple[int, ...]) -> tuple[list[str], Array, Array]:
    """Give the sets, the AUROC of one class (sets, k), and what each rule gains on it, (sets, k, rules)."""
    names = means(found, ks[0])[0]
    table = np.stack([means(found, k)[1] for k in ks], axis=1)
    return names, table[..., 0], table - table[..., :1]


def print_rules(title: str, rules: dict[str, Array], base: Array, ks: tuple[int, ...]) -> None:
    """Print of each rule the mean AUROC over sets, and its worst and best set against one class, (sets, k)."""
    print(f"\n{title}\n")
    print_header("rule", [*(f"k = {k}" for k in ks), *(f"worst, best set at {k}" for k in ks)])
    for name, gain in rules.items():
        cells = [f"{mean:.4f}" for mean in (base + gain).mean(axis=0)]
        cells += [f"{low:+.3f}, {high:+.3f}" for low, high in zip(gain.min(axis=0), gain.max(axis=0), strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


def print_changes(title: str, names: list[str], rules: dict[str, Array], base: Array, ks: tuple[int, ...]) -> None:
    """Print of each set how each rule changes the AUROC of one class, (sets, k)."""
    print(f"\n{title}; k = {', '.join(map(str, ks))}\n")
    print_header("set", ["one class", *rules])
    with_mean = {name: np.vstack([gain, gain.mean(axis=0)]) for name, gain in rules.items()}
    of_one_class = [*base[:, 0], base[:, 0].mean()]
    for number, name in enumerate([*names, "mean"]):
        cells = [" ".join(f"{change:+.3f}" for change in gain[number]) for gain in with_mean.values()]
        print(f"| {name} | {of_one_class[number]:.3f} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--rule", action="store_true")
    arguments = parser.parse_args()
    if arguments.rule:
        for rival in list(RIVALS)[1:]:
            del RIVALS[rival]
    sets = load_sets(arguments.cache)
    closed, opened, pools = Figures(), Figures(), Figures()
    for name, parts in sets.items():
        of = measure(parts, kinds_of(name))
        for k, task in closed_tasks(of, arguments.draws):
            closed.setdefault((name, k), []).append(figures(of, task))
        if of.kinds is not None:
            for k, _, task in open_tasks(of, arguments.draws):
                opened.setdefault((name, k), []).append(figures(of, task))
    for pair in PAIRS:
        of = measure(*pooled(sets, pair))
        for k, kind, task in open_tasks(of, max(1, arguments.draws // 5)):
            pools.setdefault((f"{kind} labelled, of {' + '.join(pair)}", k), []).append(figures(of, task))
    report(closed, opened, pools)
    print_farness(sets)


def report(closed: Figures, opened: Figures, pools: Figures) -> None:
    names, base, gain = gains(closed, KS)
    open_names, open_base, open_gain = gains(opened, OPEN_KS)
    pool_names, pool_base, pool_gain = gains(pools, OPEN_KS)
    n_rivals = len(RIVALS)
    rows = (names, open_names, pool_names)
    by_rule = [table[..., n_rivals:] for table in (gain, open_gain, pool_gain)]

    def chosen_without(left_out: Collection[str], share: float = UNLABELLED) -> int:
        kept = [[not any(name in row for name in left_out) for row in of] for of in rows]
        return choose([table[here] for table, here in zip(by_rule, kept, strict=True)], share)

    choices = {share: (choose(by_rule, share), [chosen_without([name], share) for name in names]) for share in SHARES}
    best, nested = choices[UNLABELLED]
    of_pools = [chosen_without([name for name in names if name in pool]) for pool in pool_names]
    print(
        "Choices are (compared with normals near by, discriminating after, slope, half shut, known after, most known)."
    )
    print("Chosen for the sets left out:", {GRID[at]: nested.count(at) for at in sorted(set(nested))})
    by_share = {}
    for share, (chosen, left_out) in choices.items():
        by_share[f"{share:.2f}, on all sets: {GRID[chosen]}"] = gain[..., n_rivals + chosen]
        by_share[f"{share:.2f}, nested"] = np.stack([gain[row, :, n_rivals + at] for row, at in enumerate(left_out)])
    print_rules("By the share of unlabelled kinds", by_share, base, KS)
    rules = {name: gain[..., at] for at, name in enumerate(RIVALS)}
    shipped = GRID.index(SHIPPED)
    print("Highest on all sets:", GRID[best], "; shipped:", SHIPPED)
    rules["the rule as it is (optimistic)"] = gain[..., n_rivals + shipped]
    rules["the rule, nested choice"] = np.stack([gain[number, :, n_rivals + at] for number, at in enumerate(nested)])
    print_rules("Labelled kinds: mean AUROC over the sets", rules, base, KS)
    print("\nGoals:", " | ".join(f"{goal or '-'}" for goal in GOALS))
    ours = {name: table for name, table in rules.items() if name.startswith("the rule")}
    print_changes("Labelled kinds, by set", names, ours, base, KS)
    picked = [n_rivals + nested[names.index(name)] for name in open_names]
    shown = {name: open_gain[..., at] for at, name in enumerate(RIVALS) if at}
    shown["the rule"] = open_gain[..., n_rivals + shipped]
    shown["the rule, nested"] = np.stack([open_gain[number, :, at] for number, at in enumerate(picked)])
    print_changes("Unlabelled kinds of a set", open_names, shown, open_base, OPEN_KS)
    shown = {name: pool_gain[..., at] for at, name in enumerate(RIVALS) if at}
    shown["the rule"] = pool_gain[..., n_rivals + shipped]
    shown["the rule, nested"] = np.stack([pool_gain[row, :, n_rivals + at] for row, at in enumerate(of_pools)])
    print_changes("Unlabelled kinds, sets pooled", pool_names, shown, pool_base, OPEN_KS)


main()
