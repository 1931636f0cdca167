"""Table C: other ways to learn from an unlabelled pool, in the protocol of prevalence.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from embeddings import FIRST_LOOKS, load_sets
from ideas_scores import first_default
from protocol import Score, mixture, plain
from sklearn.linear_model import LogisticRegression
from table import print_header

from msde import MeanShiftEnhancer, MSDEDetector
from msde.benchmark.draws import Subset, halves
from msde.method.gaussian import Gaussian, fit_ledoit_wolf
from msde.method.metrics import auroc
from msde.method.unlabelled_pool import _agreement

SHARES = (0.01, 0.05, 0.20, 0.50)
DRAWS = 3
N_EM_STEPS = 10


@dataclass(frozen=True)
class Adaptive:
    """The adaptive mode that these ideas were compared with: its axis is the shift of the pool's mean."""

    gaussian: Gaussian
    origin: np.ndarray
    axis: np.ndarray
    gate: float

    @classmethod
    def fit(cls, normals: np.ndarray, pool: np.ndarray, trusted: np.ndarray) -> Adaptive:
        """Fit the Gaussian to trusted normals and the inner 70 % of the pool, the axis against all normals."""
        own = fit_ledoit_wolf(normals)
        whitening = own.whitening_of_all
        white = (pool - own.mean) @ whitening
        inner = np.argsort(np.einsum("ij,ij->i", white, white), kind="stable")[: round(0.7 * len(pool))]
        moved = white.mean(axis=0)
        evidence = evidence_by_rows(white)
        gate = evidence**4 / (evidence**4 + max(0.2, 2 / np.sqrt(white.shape[1])) ** 4)
        joined = fit_ledoit_wolf(np.vstack([normals[trusted], pool[inner]]))
        return cls(joined, own.mean, whitening @ moved / np.linalg.norm(moved), gate)

    def along(self, rows: np.ndarray) -> np.ndarray:
        """Measure how far rows lie along the axis."""
        return (rows - self.origin) @ self.axis


def evidence_by_rows(white: np.ndarray) -> float:
    """Measure the agreement of halves to which single rows are dealt, whatever their neighbours."""
    rng, found = np.random.default_rng(0), []
    white = white[np.argsort(np.einsum("ij,ij->i", white, white), kind="stable")]
    for _ in range(8):
        shuffled = rng.permutation(white)
        one, other = shuffled[: len(white) // 2], shuffled[len(white) // 2 :]
        found += [_agreement(one, other), _agreement(other, one)]
    return max(float(np.mean(found)), 0.0)


@dataclass(frozen=True)
class Material:
    """What an idea learns from: standardised normals, which of them are trusted, and the standardised pool.

    The abnormal share is Storey's estimate by distance: 1 - 2 (share of the pool whose p-value is above 1/2)
    (J. R. Stat. Soc. B 64:479, 2002).
    """

    normals: np.ndarray
    trusted: np.ndarray
    pool: np.ndarray
    abnormal_share: float


Idea = Callable[[Material], Score]


def mixed(gaussian: Gaussian, along: Score, gate: float) -> Score:
    """Mix distance and direction as the default does."""
    return lambda rows: (1 - gate) * np.sqrt(2) * gaussian.mahalanobis(rows) + gate * along(rows)


def gated(gate: float | None = None, joining: str = "inner") -> Idea:
    """Return that mode with its gate held, and with the inner 70 %, the whole or none of the pool as normals."""

    def idea(material: Material) -> Score:
        mode = Adaptive.fit(material.normals, material.pool, material.trusted)
        gaussian = mode.gaussian if joining == "inner" else fit_ledoit_wolf(JOINED[joining](material))
        return mixed(gaussian, mode.along, mode.gate if gate is None else gate)

    return idea


JOINED: dict[str, Callable[[Material], np.ndarray]] = {
    "whole": lambda material: np.vstack([material.normals[material.trusted], material.pool]),
    "none": lambda material: material.normals[material.trusted],
}


def trajectory(k: int, steps: int) -> Idea:
    """Return the shift along the frozen path of normals and pool, scored under the Gaussian of the shifted normals."""

    def idea(material: Material) -> Score:
        enhancer = MeanShiftEnhancer(k, max_iter=steps, weighting="uniform")
        normals = material.normals[material.trusted]
        shifted = enhancer.fit_transform(np.vstack([normals, material.pool]))
        gaussian = fit_ledoit_wolf(shifted[: len(normals)])
        return lambda rows: gaussian.mahalanobis(enhancer.transform(rows))

    return idea


def logistic(material: Material) -> Score:
    labels = np.repeat([0, 1], [len(material.normals), len(material.pool)])
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=300)
    return model.fit(np.vstack([material.normals, material.pool]), labels).decision_function


def ratio(material: Material) -> Score:
    one, other = fit_ledoit_wolf(material.normals), fit_ledoit_wolf(material.pool)
    return lambda rows: one.mahalanobis(rows) ** 2 - other.mahalanobis(rows) ** 2


def storey(power: float) -> Idea:
    return lambda material: gated(material.abnormal_share**power, "none")(material)


def mixture_in_pool(material: Material) -> Score:
    """Fit known normals and a ball of abnormals (mean, variance, share) to the whitened pool; score the ratio."""
    gaussian = fit_ledoit_wolf(material.normals)
    white = (material.pool - gaussian.mean) @ gaussian.whitening_of_all
    squared = np.einsum("ij,ij->i", white, white)
    abnormal, share, d = (squared > np.median(squared)).astype(float), 0.5, white.shape[1]
    for _ in range(N_EM_STEPS):
        weights = np.maximum(abnormal, 1e-3)
        centre = weights @ white / weights.sum()
        offsets = np.sum((white - centre) ** 2, axis=1)
        variance = weights @ offsets / weights.sum() / d
        logit = np.log(share / (1 - share)) + (squared - offsets / variance - d * np.log(variance)) / 2
        abnormal = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
        share = float(np.clip(abnormal.mean(), 0.01, 0.99))

    def score(rows: np.ndarray) -> np.ndarray:
        white = (rows - gaussian.mean) @ gaussian.whitening_of_all
        return np.sum(white**2, axis=1) - np.sum((white - centre) ** 2, axis=1) / variance

    return score


COMPARED = (
    "**plain Gaussian**",
    "**inductive default**",
    "**first adaptive mode** (inner 70 % join, gate by evidence)",
)
IDEAS: dict[str, Idea] = {
    "gate shut": gated(0.0),
    "gate fixed at 0.5": gated(0.5),
    "gate fixed at 1: linear discriminant alone": gated(1.0),
    "no row of the pool joins": gated(joining="none"),
    "the whole pool joins": gated(joining="whole"),
    "the whole pool joins, gate shut": gated(0.0, "whole"),
    "frozen trajectory of normals and pool, k=50, 8 steps": trajectory(50, 8),
    "frozen trajectory of normals and pool, k=10, 2 steps": trajectory(10, 2),
    "logistic regression, normals against pool": logistic,
    "ratio of two Gaussians, normals against pool": ratio,
    "distance and direction mixed by Storey's share": storey(1),
    "distance and direction mixed by the root of Storey's share": storey(0.5),
    "mixture of normals and abnormals in the pool, by EM": mixture_in_pool,
}


def measure(parts: list[Subset]) -> np.ndarray:
    """Return AUROCs of shape (compared + idea, share, draw)."""
    train, normal, abnormal = parts
    detector = MSDEDetector(shift=None).fit(train.rows)
    standardise = detector.scorer_.standardizer.apply
    normals = standardise(train.rows)
    held_out = np.sort(detector.cross_fitted_scores())
    alone = (plain(train.rows), first_default(train.rows))
    figures = np.empty((len(COMPARED) + len(IDEAS), len(SHARES), DRAWS))
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        source, half = halves(rng, normal, abnormal)
        scored = [subset.rows for subset in half]
        figures[:2, :, draw] = [[auroc(*map(score, scored))] for score in alone]
        standard = [standardise(part) for part in scored]
        for column, share in enumerate(SHARES):
            pool = np.vstack(mixture(rng, source, share))
            unsuspicious = np.mean(detector.anomaly_score(pool) < np.median(held_out))
            material = Material(normals, detector.trusted_, standardise(pool), max(0.0, 1 - 2 * unsuspicious))
            for row, idea in enumerate((gated(), *IDEAS.values()), start=2):
                figures[row, column, draw] = auroc(*map(idea(material), standard))
    return figures


def print_table(cache: Path) -> None:
    print_header("idea", [f"{share:.0%}" for share in SHARES])
    means = np.stack([measure(parts).mean(axis=2) for parts in load_sets(cache, FIRST_LOOKS).values()])
    worst = (means - means[:, :1]).min(axis=0)
    for name, row, differences in zip((*COMPARED, *IDEAS), means.mean(axis=0), worst, strict=True):
        cells = (f"{mean:.3f} ({difference:+.3f})" for mean, difference in zip(row, differences, strict=True))
        print(f"| {name} | " + " | ".join(cells) + " |")
