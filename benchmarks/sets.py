"""Counts, fingerprints and what `msde data check` finds in every set of shared/data, as the tables of docs/sets.md.

Run: python benchmarks/sets.py [SHARED]     (by default $MSDE_SHARED or ../shared)

"Strongest" is the one number whose AUROC, abnormal against normal, is farthest from one half: below it where abnormal
images have less of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from embeddings import SHARED, shared_sets
from table import print_header

from msde.datasets import read_dataset
from msde.datasets.inspection import FORM, SHOWN_DIGITS, Inspection, Telling, inspect_dataset
from msde.datasets.statistic import STATISTICS

PICTURES = ("train", "normal", "abnormal", "masks")


def counted(name: str, inspection: Inspection) -> list[str]:
    return [name, *(str(len(getattr(inspection.dataset, part))) for part in PICTURES)]


def fingerprints(name: str, inspection: Inspection) -> list[str]:
    found = inspection.fingerprints
    return [name, *(f"`{found[part][:SHOWN_DIGITS]}`" if part in found else "–" for part in PICTURES)]


def checked(name: str, inspection: Inspection) -> list[str]:
    twins, telling = inspection.twins[0], inspection.telling
    n_test = len(inspection.dataset.normal) + len(inspection.dataset.abnormal)
    return [
        name,
        f"{twins.identical + twins.alike} of {n_test}",
        strongest(telling, STATISTICS),
        strongest(telling, FORM),
    ]


def strongest(telling: dict[str, Telling], names: Iterable[str]) -> str:
    aurocs = {name: metric.value for name in names if (metric := telling[name].auroc)}
    name = max(aurocs, key=lambda name: abs(aurocs[name] - 0.5))
    return f"{name} {aurocs[name]:.3f}"


TABLES = {
    counted: ("train normal", "test normal", "test abnormal", "masks"),
    fingerprints: ("train normal", "test normal", "test abnormal", "masks"),
    checked: (
        "test images alike to one in train",
        "AUROC, five statistics",
        "strongest statistic",
        "strongest of file",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", nargs="?", type=Path, default=SHARED)
    arguments = parser.parse_args()
    inspections = {folder.name: inspect_dataset(read_dataset(folder)) for folder, _ in shared_sets(arguments.shared)}
    for row, columns in TABLES.items():
        print_header("set", columns)
        for name, inspection in inspections.items():
            print(f"| {' | '.join(row(name, inspection))} |")
        print()


main()
