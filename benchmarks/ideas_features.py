"""Table B: other embeddings of an image, scored by the default detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from embeddings import FIRST_LOOKS, Sets, load_moments, load_sets
from ideas_scores import CHANNELS, first_default
from table import print_header, print_ideas

from msde.backbones import load_backbone
from msde.backbones.backbone import per_channel

Levels = list[np.ndarray]  # means of the levels, then their deviations: 2 x 4 arrays (n, channels)
N = len(CHANNELS)


def unit(levels: Levels) -> np.ndarray:
    """Put levels, each of unit length, side by side."""
    return np.hstack([level / np.linalg.norm(level, axis=1, keepdims=True) for level in levels])


IDEAS: dict[str, Callable[[Levels], np.ndarray]] = {
    "**default** (means of four levels, each of unit length)": lambda levels: unit(levels[:N]),
    "means, not of unit length": lambda levels: np.hstack(levels[:N]),
    "means, all four together of unit length": lambda levels: unit([np.hstack(levels[:N])]),
    "means of level 1 alone (24)": lambda levels: unit(levels[0:1]),
    "means of level 2 alone (40)": lambda levels: unit(levels[1:2]),
    "means of level 3 alone (112)": lambda levels: unit(levels[2:3]),
    "means of level 4 alone (320)": lambda levels: unit(levels[3:4]),
    "means and deviations": unit,
    "means and deviations, not of unit length": np.hstack,
    "deviations": lambda levels: unit(levels[N:]),
}


def embedded(idea: Callable[[Levels], np.ndarray], moments: Sets) -> Sets:
    borders = np.cumsum(2 * CHANNELS)[:-1]
    return {
        name: [replace(part, rows=idea(np.split(part.rows, borders, axis=1))) for part in parts]
        for name, parts in moments.items()
    }


def as_trained(cache: Path) -> Sets:
    """Embed with the input convention that the weights were trained with."""
    backbone = load_backbone()
    convention = {"pixel_mean": per_channel((127 / 255,) * 3), "pixel_std": per_channel((128 / 255,) * 3)}
    return load_sets(cache, FIRST_LOOKS, replace(backbone, weights={**backbone.weights, **convention}))


def print_table(cache: Path) -> None:
    moments = load_moments(cache)
    print_header("embedding", (*moments, "mean"))
    for name, idea in IDEAS.items():
        print_ideas({name: first_default}, embedded(idea, moments))
    print_ideas(
        {"pixels normalised by (127, 128) / 255, as the weights were trained": first_default}, as_trained(cache)
    )
