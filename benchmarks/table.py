"""A Markdown table of AUROCs: a row an idea, a column a set, and their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from embeddings import Sets
from protocol import Score

from msde.benchmark.draws import Subset
from msde.method.metrics import auroc


def print_header(first: str, columns: Iterable[str]) -> None:
    cells = [first, *columns]
    print(f"| {' | '.join(cells)} |")
    print("|---" * len(cells) + "|")


def print_row(name: str, figures: list[float]) -> None:
    print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in (*figures, np.mean(figures))) + " |", flush=True)


def print_ideas(ideas: dict[str, Callable[[np.ndarray], Score]], sets: Sets) -> None:
    """Print a row an idea; an idea turns training normals into a score."""
    for name, idea in ideas.items():
        print_row(name, [tested(idea(parts[0].rows), parts) for parts in sets.values()])


def tested(score: Score, parts: list[Subset]) -> float:
    return auroc(*(score(part.rows) for part in parts[1:]))
