"""How far adaptive mode uses a pool's direction: chosen on all sets, and for each set on the others; Markdown tables.

Run: python benchmarks/choose_gate.py CACHE_FOLDER [--draws 5] [--harm 2]     (3 minutes of processor time)

A score is the inductive distance plus weight x e^s / (e^s + h^s) x place along an axis, e being the evidence. Compared
are axes (the shift of the pool's mean; the contrast of its outer to its inner rows), how rows are dealt to the halves
that evidence comes from (each row; with its nearest neighbours), the largest weight, h and s.

The rule: of the settings that on no set lose more than half of what is allowed, .005 of AUROC against no pool, at 1 to
20 % abnormal, with pools of the set itself and of other sets of the modality, take the one whose mean gain at 20 and
50 % is largest, together with twice the mean gain (a loss) at 1 to 20 % with models fitted to a part of the normals. A
set that is left out is left out as a source of pools too; axis and dealing are then kept.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets
from ideas_pools import evidence_by_rows
from pools import NO_HARM, SHARES, Case, cases, whitening

from msde import MSDEDetector
from msde.method.metrics import auroc
from msde.method.unlabelled_pool import _opening, _unit, _unit_contrast, pool_evidence

MOST_LOST = -0.005
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0)
AXES = {"mean shift": lambda white: _unit(white.mean(axis=0)), "contrast": _unit_contrast}
HALF_OPEN = (0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3, 0.4)
STEEPNESS = (4, 8, 12, 16)


DEALINGS = {"rows": evidence_by_rows, "nearest neighbours together": pool_evidence}


def measure(case: Case, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Return evidences (share, draw, dealing) and AUROCs (share, draw, axis, weight) of white rows."""
    evidences, areas = [], []
    for share in SHARES:
        for pool, scored in case.draws(share, draws):
            evidences.append([dealing(pool) for dealing in DEALINGS.values()])
            for axis in (find(pool) for find in AXES.values()):
                parts = [(np.linalg.norm(part, axis=1), part @ axis) for part in scored]
                areas.append([auroc(*(distance + w * along for distance, along in parts)) for w in WEIGHTS])
    shape = (len(SHARES), draws)
    return np.reshape(evidences, (*shape, -1)), np.reshape(areas, (*shape, len(AXES), len(WEIGHTS)))


def gains(evidences: np.ndarray, areas: np.ndarray, setting: tuple) -> np.ndarray:
    """Return the gain over no pool (case, share), the mean over draws, AUROCs taken linear between weights."""
    axis, dealing, largest, half, steepness = setting
    weights = largest * np.vectorize(_opening)(evidences[..., dealing], 1488, half, steepness)
    above = np.clip(np.searchsorted(WEIGHTS, weights, side="right"), 1, len(WEIGHTS) - 1)
    low, high = np.take(WEIGHTS, above - 1), np.take(WEIGHTS, above)

    def pick(index: np.ndarray) -> np.ndarray:
        return np.take_along_axis(areas[..., axis, :], index[..., None], axis=-1)[..., 0]

    part = (weights - low) / (high - low)
    return ((1 - part) * pick(above - 1) + part * pick(above) - areas[..., axis, 0]).mean(axis=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--harm", type=float, default=2, help="how often a loss of models fitted to a part counts")
    arguments = parser.parse_args()
    sets, found, evidences, areas = load_sets(arguments.cache), [], [], []
    fitted, scorer = None, None
    for case in cases(sets):
        if fitted is not case.train:
            fitted, scorer = case.train, MSDEDetector().fit(case.train.rows).scorer_
        evidence, area = measure(case.seen_by(whitening(scorer)), arguments.draws)
        found.append(case)
        evidences.append(evidence)
        areas.append(area)
    kinds, names, others = (np.array([getattr(case, field) for case in found]) for field in ("kind", "set", "other"))
    settings = list(product(range(len(AXES)), range(len(DEALINGS)), WEIGHTS[1:], HALF_OPEN, STEEPNESS))
    table = np.array([gains(np.array(evidences), np.array(areas), setting) for setting in settings])
    low = len(NO_HARM)

    def choose(allowed: np.ndarray, eligible: np.ndarray) -> int:
        kept, part = allowed & (kinds != "part"), allowed & (kinds == "part")
        own = allowed & (kinds == "own")
        value = table[:, own][..., 3:].mean(axis=(1, 2)) + arguments.harm * table[:, part][..., :low].mean(axis=(1, 2))
        safe = table[:, kept][..., :low].min(axis=(1, 2)) >= MOST_LOST
        return int(np.argmax(np.where(safe & eligible, value, -np.inf)))

    def words(setting: tuple) -> str:
        axis, dealing, largest, half, steepness = setting
        return f"{list(AXES)[axis]}, {list(DEALINGS)[dealing]}, weight {largest}, h {half}, s {steepness}"

    everything = np.ones(len(kinds), bool)
    print("| eligible | chosen on all sets | worst, 1 to 20 % | worst, fitted to a part | " + means_header())
    print("|---" * (4 + len(SHARES)) + "|")
    left_out = []
    for axis, dealing in product(range(len(AXES)), range(len(DEALINGS))):
        eligible = np.array([setting[:2] == (axis, dealing) for setting in settings])
        print_setting(
            f"{list(AXES)[axis]}, {list(DEALINGS)[dealing]}",
            words,
            settings,
            table,
            choose,
            everything,
            eligible,
            kinds,
        )
    best = print_setting("all", words, settings, table, choose, everything, np.ones(len(settings), bool), kinds)
    kept = np.array([setting[:2] == settings[best][:2] for setting in settings])
    print("\n| set left out | chosen on the others | worst, 1 to 20 % | worst, fitted to a part | " + means_header())
    print("|---" * (4 + len(SHARES)) + "|")
    for name in sets:
        row = choose((names != name) & (others != name), kept)
        here = names == name
        worst = [table[row][here & chosen][:, :low].min(initial=0) for chosen in (kinds != "part", kinds == "part")]
        own = table[row][here & (kinds == "own")][0]
        left_out.append([*worst, *own])
        same = "the same" if row == best else words(settings[row])
        print(f"| {name} | {same} | {' | '.join(f'{value:+.3f}' for value in left_out[-1])} |")
    worst, means = np.min(left_out, axis=0)[:2], np.mean(left_out, axis=0)[2:]
    print(f"| **worst, mean** | | {' | '.join(f'{value:+.4f}' for value in (*worst, *means))} |")


def means_header() -> str:
    return " | ".join(f"mean gain {share:.0%}" for share in SHARES) + " |"


def print_setting(
    name: str,
    words: Callable[[tuple], str],
    settings: list[tuple],
    table: np.ndarray,
    choose: Callable[[np.ndarray, np.ndarray], int],
    allowed: np.ndarray,
    eligible: np.ndarray,
    kinds: np.ndarray,
) -> int:
    """Print what is chosen of the eligible settings; return its number."""
    row, low = choose(allowed, eligible), len(NO_HARM)
    worst = [table[row][chosen][:, :low].min() for chosen in (kinds != "part", kinds == "part")]
    figures = (*worst, *table[row][kinds == "own"].mean(axis=0))
    print(f"| {name} | {words(settings[row])} | {' | '.join(f'{value:+.4f}' for value in figures)} |", flush=True)
    return row


main()
