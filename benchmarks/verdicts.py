"""Whether what `msde learn` tells before a new model is used is true, as a table.

Run: python benchmarks/verdicts.py CACHE_FOLDER [--sets NAME...] [--draws 5]

Half of a set's test patients come in, with one abnormal image in five, and some get verdicts: all, those that the old
model flags, or these and a tenth of the others. The comparison sees nothing else. It is held against the other half,
which stands for the time after: AUROC of old and new, and flags in 1,000 normals, with weights and without.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import kept_or_computed
from table import print_header

from msde import MSDEDetector
from msde.backbones import load_backbone
from msde.benchmark.draws import Subset, at_share, halves
from msde.embedding.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.evaluation.comparison import Comparison, compare
from msde.images import ImageRule
from msde.method.metrics import auroc
from msde.model.fitted import FittedModel
from msde.model.learning import learn
from msde.model.retraining import Retraining
from msde.model.training_set import TrainingSet

SHARE = 0.2  # of abnormal images among those that come in
LOOKED_AT = 0.1  # of the images that are not flagged
FEWEST = 2  # images of either kind with verdicts
POLICIES = ("all", "flagged", "flagged and a tenth of the others")

Array = np.ndarray


def training_set(subset: Subset) -> TrainingSet:
    digests = [hashlib.sha256(row.tobytes()).digest() for row in subset.rows]
    first = np.unique(np.array(digests), return_index=True)[1]
    keys = [frozenset({("patient", subset.patients[row])}) for row in first]
    names = [f"{row}" for row in first]
    return TrainingSet(subset.rows[first], names, [digests[row] for row in first], [], {}, 1.0, keys)


def looked_at(policy: str, p_values: Array, alpha: float, rng: np.random.Generator) -> Array:
    flagged = p_values <= alpha + 1e-12
    if policy == "all":
        return np.ones(len(p_values), dtype=bool)
    return flagged if policy == "flagged" else flagged | (rng.random(len(p_values)) < LOOKED_AT)


def compared(old: FittedModel, normals: TrainingSet, came: TrainingSet, ill: dict[bytes, bool], seen: Array) -> tuple:
    p_values = old.images.p_values(old.scorer.score(came.rows))
    retraining = Retraining.of(old, normals, came.only(seen), ill)
    return compare(retraining, others=p_values[~seen]), retraining.fit()[0]


def per_1000(comparison: Comparison) -> list[float]:
    """Flags in 1,000 normals of old and new, with weights and without; NaN where not told."""
    normal = ~comparison.abnormal
    told = [comparison.share_flagged(arm, abnormal=False) for arm in (comparison.old, comparison.new)]
    plain = [arm.flagged[normal].mean() for arm in (comparison.old, comparison.new)]
    return [1000 * share for share in [*(np.nan if one is None else one.value for one in told), *plain]]


def unweighted(comparison: Comparison) -> tuple[float, float]:
    normal = ~comparison.abnormal
    old, new = (auroc(arm.scores[normal], arm.scores[~normal]) for arm in (comparison.old, comparison.new))
    return old, new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--sets", nargs="*", default=["ct_ich_phe", "ct_covid_sarscov2"])
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    encoder = Encoder((load_backbone(),), DEFAULT_LOOKS)
    session = EncoderSession(encoder, threads=1)
    sets = kept_or_computed(arguments.cache, session, "", arguments.sets)
    columns = ("AUROC, old", "new", "change", "told, old", "new", "change", "without weights, change")
    flags = ("flags in 1,000 normals, old", "new", "told, old", "new", "without weights, old", "new")
    print_header("set, verdicts on", ("images", *columns, *flags))
    for name, (train, *test) in sets.items():
        normals = training_set(train)
        old, _ = learn(normals, None, MSDEDetector(), encoder, ImageRule())
        for policy in POLICIES:
            figures = []
            for draw in range(arguments.draws):
                rng = np.random.default_rng(draw)
                half, others = halves(rng, *test)
                sets_of = [training_set(part) for part in at_share(rng, half, SHARE, every_normal=True)]
                later = [part.where(rng.permutation(len(part))) for part in others]
                ill = {digest: bool(label) for label, one in enumerate(sets_of) for digest in one.digests}
                both = TrainingSet.union(sets_of)
                p_values = old.images.p_values(old.scorer.score(both.rows))
                seen = looked_at(policy, p_values, old.images.alpha, rng)
                called = np.array([ill[digest] for digest in both.digests])[seen]
                if min(called.sum(), (~called).sum()) < FEWEST:
                    continue
                comparison, new = compared(old, normals, both, ill, seen)
                scores = [[model.scorer.score(part.rows) for part in later] for model in (old, new)]
                true = [auroc(*pair) for pair in scores]
                told = [metric.value for metric in comparison.aurocs[:2]]
                plain = unweighted(comparison)
                rates = [1000 * m.images.flagged(pair[0]).mean() for m, pair in zip((old, new), scores, strict=True)]
                figures.append(
                    [seen.sum(), *true, true[1] - true[0], *told, told[1] - told[0], plain[1] - plain[0], *rates]
                    + per_1000(comparison)
                )
            if not figures:
                print(f"| {name}, {policy} | too few verdicts |", flush=True)
                continue
            means = np.mean(figures, axis=0)
            cells = [f"{value:.{3 * (0 < column < 8)}f}" for column, value in enumerate(means)]
            print(f"| {name}, {policy} | {' | '.join(cells)} |".replace("nan", "not told"), flush=True)


if __name__ == "__main__":
    main()
