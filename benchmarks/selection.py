"""Looks chosen without labels on the sets of shared/data: what is chosen, its AUROC, and those of the alternatives.

Run: python benchmarks/selection.py CACHE_FOLDER [--only WORD]
The first table is the choice by synthetic anomalies, the second that by a pool: patients of the test images in halves,
one half chooses and the other is scored, at the stated share of abnormal images in the pool; two draws. A rank
correlation is Spearman's, over the candidates, of quality and AUROC. Labels choose nothing but in the column "best";
what each candidate has goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this as it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import PARTS, patients, shared_sets
from protocol import mixture
from scipy.stats import spearmanr
from table import print_header

from msde import MSDEDetector
from msde.backbones import load_backbone
from msde.benchmark.config import SetPlan
from msde.benchmark.draws import Subset, halves
from msde.embedding.cache import EmbeddingCache
from msde.embedding.embed import embed_images
from msde.embedding.encoder import Encoder, EncoderSession
from msde.images import find_images
from msde.method.arrays import evenly_spaced
from msde.method.metrics import auroc
from msde.model.feature_selection import MOST_IMAGES, Looks, candidates, fitted, select_looks

SHARES = (None, 0.05)  # of abnormal images in the pool; None as given
DRAWS = 2
BACKBONES = [load_backbone()]
COMPARED = candidates(BACKBONES)
SESSION = EncoderSession(Encoder(tuple(BACKBONES), tuple(dict.fromkeys(chain(*COMPARED)))), threads=1)
COLUMNS = [SESSION.columns(looks) for looks in COMPARED]


def written(looks: Looks) -> str:
    return " ".join(map(str, looks))


def embedded_parts(folder: Path, plan: SetPlan, cache: EmbeddingCache) -> list[Subset]:
    """Embed the three parts of a set with the looks of all candidates."""
    parts = []
    for part in PARTS:
        images = list(embed_images(SESSION, find_images([folder / part]), cache=cache))
        rows = np.stack([image.embedding for image in images])
        parts.append(Subset(rows, patients(plan, (image.name for image in images))))
    return parts


def test_scores(parts: list[Subset]) -> list[list[np.ndarray]]:
    """Score normals and abnormals of the test images with each candidate."""
    scores = []
    for own in COLUMNS:
        detector = MSDEDetector().fit(parts[0].rows[:, own])
        scores.append([detector.anomaly_score(part.rows[:, own]) for part in parts[1:]])
    return scores


def held_out_scores(parts: list[Subset]) -> list[list[list[np.ndarray]]]:
    """Score, with each candidate and in each round, held-out normals and the test images by the same detector."""
    train, *test = (part.rows for part in parts)
    train = train[evenly_spaced(len(train), MOST_IMAGES)]
    return [
        [[detector.anomaly_score(rows[:, own]) for rows in (train[held], *test)] for held, detector in rounds]
        for own, rounds in ((own, fitted(train[:, own])) for own in COLUMNS)
    ]


def by_pool(parts: list[Subset], scores: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Return for each share the means of the chosen's AUROC, the default's, the best's and the rank correlation."""
    numbered = [Subset(np.arange(len(part.rows)), part.patients) for part in parts[1:]]
    rounds = held_out_scores(parts)
    figures = []
    for share in SHARES:
        rng, lines = np.random.default_rng(0), []
        for _ in range(DRAWS):
            both = list(halves(rng, *numbered))
            for here, there in (both, both[::-1]):
                n, a = [subset.rows for subset in here] if share is None else mixture(rng, here, share)
                qualities = [
                    np.mean([auroc(held, np.concatenate([normal[n], abnormal[a]])) for held, normal, abnormal in each])
                    for each in rounds
                ]
                aurocs = [auroc(normal[there[0].rows], abnormal[there[1].rows]) for normal, abnormal in scores]
                lines.append(compared(qualities, aurocs))
        figures.append(np.mean(lines, axis=0))
    return figures


def compared(qualities: Sequence[float], aurocs: list[float]) -> list[float]:
    """Return the AUROC of the chosen, the default and the best with labels, and the rank correlation."""
    return [aurocs[int(np.argmax(qualities))], aurocs[0], max(aurocs), spearmanr(qualities, aurocs).statistic]


def print_rows(names: list[list[str]], figures: list[Sequence[float]]) -> None:
    """Print a row a set, and their mean."""
    mean = ["**mean**", *[""] * (len(names[0]) - 1)]
    for cells, numbers in zip([*names, mean], [*figures, np.mean(figures, axis=0)], strict=True):
        print(f"| {' | '.join([*cells, *(f'{number:.3f}' for number in numbers)])} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--only", default="", help="sets whose name holds this word")
    arguments = parser.parse_args()
    cache = EmbeddingCache(arguments.cache)
    names, by_anomalies, by_pools = [], [], []
    for folder, plan in shared_sets():
        if arguments.only not in folder.name:
            continue
        parts = embedded_parts(folder, plan, cache)
        scores = test_scores(parts)
        aurocs = [auroc(*each) for each in scores]
        selection = select_looks(BACKBONES, find_images([folder / PARTS[0]]), cache=cache)
        best = COMPARED[int(np.argmax(aurocs))]
        names.append([folder.name, written(selection.chosen), written(best)])
        by_anomalies.append(compared(selection.qualities, aurocs))
        by_pools.append(by_pool(parts, scores))
        for looks, quality, figure in zip(COMPARED, selection.qualities, aurocs, strict=True):
            print(f"{folder.name} {written(looks)}: quality {quality:.3f}, AUROC {figure:.3f}", file=sys.stderr)
    figures = ("AUROC", "default", "best with labels", "rank correlation")
    print_header("by synthetic anomalies", ("chosen", "best", *figures))
    print_rows(names, by_anomalies)
    for number, share in enumerate(SHARES):
        print()
        print_header(f"by a pool, abnormal {'as given' if share is None else f'{share:.0%}'}", figures)
        print_rows([cells[:1] for cells in names], [each[number] for each in by_pools])


main()
