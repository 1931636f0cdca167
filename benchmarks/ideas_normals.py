"""Table E: the default against the plain Gaussian where there are few normals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from embeddings import FIRST_LOOKS, load_sets
from ideas_scores import first_default, replaced
from protocol import Score, plain
from table import print_header, print_row, tested

from msde.benchmark.draws import Subset

COUNTS = (10, 25, 50, 100)
DRAWS = 5
IDEAS: dict[str, Callable[[np.ndarray], Score]] = {
    "plain Gaussian": plain,
    "default, all normals trusted": replaced(limit=np.inf),
    "default": first_default,
}


def measure(idea: Callable[[np.ndarray], Score], parts: list[Subset], count: int) -> float:
    train = parts[0].rows
    drawn = (train[np.random.default_rng(draw).permutation(len(train))[:count]] for draw in range(DRAWS))
    return float(np.mean([tested(idea(rows), parts) for rows in drawn]))


def print_table(cache: Path) -> None:
    sets = load_sets(cache, FIRST_LOOKS)
    print_header("normals and score", (*sets, "mean"))
    for count in COUNTS:
        for name, idea in IDEAS.items():
            print_row(f"{count}: {name}", [measure(idea, parts, count) for parts in sets.values()])
