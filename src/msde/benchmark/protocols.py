"""Protocols by name: what a detector learns from, what it scores, and what is measured.

No protocol shows a label to a detector, and none chooses anything by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.benchmark.detectors import Detector, Rows, Score
from msde.benchmark.statistics import Labelled, discrimination, weighted_areas
from msde.errors import DataError
from msde.method.calibration import Calibration, folds
from msde.method.metrics import auroc

Condition = float | int | str | None
BATCHES = {0.01: 4, 0.02: 3, 0.05: 2}  # fewer abnormal images a batch, more batches
LEAST_SCORED = 10
ALONE = 3  # images scored alone, to see that they get the score that they get among others


@dataclass(frozen=True)
class Part:
    """Rows (n, ...) of one part of a set, and the patient of each, (n,) int."""

    rows: Rows
    patients: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def where(self, chosen: NDArray[Any]) -> Part:
        """Take some of the rows, by a mask or by numbers."""
        return Part(self.rows[chosen], self.patients[chosen])


@dataclass(frozen=True)
class Parts:
    """A set: training normals, test normals and test abnormals."""

    train: Part
    normal: Part
    abnormal: Part

    @property
    def tested(self) -> list[Part]:
        """Both parts that are scored."""
        return [self.normal, self.abnormal]


@dataclass(frozen=True)
class Subject:
    """A detector and the set that it is put to.

    Parameters
    ----------
    parts : Parts
    detector : Detector
    fit : callable
        Fits the detector to normals, and to a pool where one is given.
    clean : callable
        Gives the fit to all training normals, which is made once.
    other : callable
        Gives another set by name.
    alpha : float, default=0.05
        Target false-alarm rate.
    """

    parts: Parts
    detector: Detector
    fit: Callable[..., Score]
    clean: Callable[[], Score]
    other: Callable[[str], Parts]
    alpha: float = 0.05


@dataclass(frozen=True)
class Outcome:
    """What came of it: figures by name, and the scores where all test images were scored once."""

    figures: dict[str, float]
    labelled: Labelled | None = None


Run = Callable[[Subject, Condition, np.random.Generator], Outcome]


@dataclass(frozen=True)
class Protocol:
    """A way to measure.

    Parameters
    ----------
    run : callable
        Takes a Subject, a condition and the source of the draw; gives an Outcome.
    about : str
        What it does.
    conditions : tuple
        The default conditions, such as shares.
    drawn : bool
        Whether images are drawn, so that it has to be repeated.
    batchwise, pooled : bool
        Whether detectors that score batches, or learn from a pool, take part.
    """

    run: Run
    about: str
    conditions: tuple[Condition, ...] = (None,)
    drawn: bool = False
    batchwise: bool = True
    pooled: bool = False

    def takes(self, detector: Detector) -> bool:
        """Tell whether a detector can be measured so."""
        return (self.batchwise or not detector.batchwise) and (self.pooled or not detector.pooled)


def published(subject: Subject, condition: Condition, rng: np.random.Generator) -> Outcome:
    """Score the whole test set at once; a pool is the test set itself, without labels."""
    rows = np.concatenate([subject.parts.normal.rows, subject.parts.abnormal.rows])
    score = subject.fit(subject.parts.train.rows, rng.permutation(rows)) if subject.detector.pooled else subject.clean()
    return _measured(_scored(score, subject.parts.tested, rng))


def single(subject: Subject, condition: Condition, rng: np.random.Generator) -> Outcome:
    """Score each test image alone."""
    score = subject.clean()
    outcome = _measured(_scored(score, subject.parts.tested, rng))
    for number in range(min(ALONE, len(subject.parts.normal))):
        alone = float(score(subject.parts.normal.rows[number : number + 1])[0])
        among = float(outcome.labelled.scores[number]) if outcome.labelled else np.nan
        if not np.isclose(alone, among, rtol=1e-3, atol=1e-9):
            raise DataError(f"an image scores {alone:g} alone and {among:g} among others; leave the detector out here")
    return outcome


def label_free_quality(subject: Subject) -> float:
    """Tell held-out training normals from the unlabelled test images, as an AUROC (AUCp, IEEE TMI 2026).

    Both are scored by a fit to four fifths of the normals. Nothing but the choice among detectors and backbones rests
    on it, and that is reported apart: the figure has seen the test images, though not their labels.
    """
    train = subject.parts.train.rows
    parts = list(folds(len(train)))
    held_out = np.concatenate(parts[:: max(1, len(parts) // 2)])
    score = subject.fit(np.delete(train, held_out, axis=0))
    pool = np.concatenate([subject.parts.normal.rows, subject.parts.abnormal.rows])
    return auroc(score(train[held_out]), score(pool))


def prevalence(subject: Subject, condition: Condition, rng: np.random.Generator) -> Outcome:
    """Score one half of the patients at a stated share of abnormal images; the other half is the pool's source.

    A detector that scores images alone scores all of the half, and its average precision is weighted to the share; the
    others score batches drawn at the share.
    """
    share = float(condition or 0)
    source, scored = _halves(rng, subject.parts.normal, subject.parts.abnormal)
    if not subject.detector.batchwise:
        pool = np.concatenate([part.rows for part in _mixture(rng, source, share)])
        score = subject.fit(subject.parts.train.rows, pool) if subject.detector.pooled else subject.clean()
        areas = weighted_areas(_scored(score, scored, rng), share)
    else:
        found = []
        for _ in range(BATCHES.get(share, 1)):
            labelled = _scored(subject.clean(), _mixture(rng, scored, share), rng)
            found.append(weighted_areas(labelled, float(labelled.abnormal.mean())))
        areas = tuple(np.mean(found, axis=0))
    return Outcome({"auroc": float(areas[0]), "ap": float(areas[1])})


def contamination(subject: Subject, condition: Condition, rng: np.random.Generator) -> Outcome:
    """Hide abnormal test images among the training normals until they are a stated share of them."""
    share = float(condition or 0)
    train, normal, abnormal = subject.parts.train, subject.parts.normal, subject.parts.abnormal
    n_hidden = round(share * len(train) / (1 - share))
    order = rng.permutation(len(abnormal))
    hidden = abnormal.where(order[:n_hidden])
    normal, abnormal = (part.where(~np.isin(part.patients, hidden.patients)) for part in (normal, abnormal))
    if min(len(normal), len(abnormal)) < LEAST_SCORED:
        raise DataError(f"too few test images are left where {n_hidden} are hidden; give smaller shares")
    mixed = subject.fit(np.concatenate([train.rows, hidden.rows]))
    figures = _figures(_scored(mixed, [normal, abnormal], rng))
    clean = _figures(_scored(subject.clean(), [normal, abnormal], rng))
    return Outcome({**figures, "lost": clean["auroc"] - figures["auroc"], "n_hidden": n_hidden})


def few_normals(subject: Subject, condition: Condition, rng: np.random.Generator) -> Outcome:
    """Learn from a few training normals, drawn at random, and score the whole test set."""
    train = subject.parts.train
    if condition == "all":
        score = subject.clean()
    else:
        score = subject.fit(train.rows[np.sort(rng.permutation(len(train))[: int(condition or 0)])])
    return Outcome(_figures(_scored(score, subject.parts.tested, rng)))


def cross_site(subject: Subject, condition: Condition, rng: np.random.Generator) -> Outcome:
    """Fit on the set, calibrate on some normals of another of the same modality, and score the test images of that."""
    target = subject.other(str(condition))
    score = subject.clean()
    labelled = _scored(score, target.tested, rng)
    local = rng.permutation(len(target.train))[:CALIBRATION]
    sources = {"own": subject.parts.normal.rows, "local": target.train.rows[np.sort(local)]}
    figures = _figures(labelled)
    for name, rows in sources.items():
        flagged = Calibration(np.sort(score(rows)), subject.alpha, name).flagged(labelled.scores)
        figures[f"false_alarms_{name}"] = float(flagged[~labelled.abnormal].mean())
        figures[f"sensitivity_{name}"] = float(flagged[labelled.abnormal].mean())
    return Outcome(figures)


CALIBRATION = 50
SHARES: tuple[Condition, ...] = (0.01, 0.02, 0.05, 0.10, 0.20, 0.50)

PROTOCOLS: Mapping[str, Protocol] = {
    "published": Protocol(published, "the whole test set in one batch, transductive where a detector is", pooled=True),
    "single": Protocol(single, "one image at a time", batchwise=False),
    "prevalence": Protocol(prevalence, "stated shares of abnormal images", SHARES, drawn=True, pooled=True),
    "contamination": Protocol(
        contamination, "abnormal images hidden among the normals", (0.02, 0.05, 0.10), drawn=True
    ),
    "few-normals": Protocol(few_normals, "learning from few normals", (10, 25, 50, 100, "all"), drawn=True),
    "cross-site": Protocol(
        cross_site, "fitted on one set, used on another of its modality", drawn=True, batchwise=False
    ),
}


def _scored(score: Score, tested: list[Part], rng: np.random.Generator) -> Labelled:
    """Score normals and abnormals in one shuffled batch, and put the scores back in order."""
    normal, abnormal = tested
    rows = np.concatenate([normal.rows, abnormal.rows])
    order = rng.permutation(len(rows))
    scores = np.empty(len(rows))
    scores[order] = score(rows[order])
    if not np.isfinite(scores).all():
        raise DataError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite")
    labels = np.repeat([False, True], [len(normal), len(abnormal)])
    return Labelled(scores, labels, np.concatenate([normal.patients, abnormal.patients]))


def _measured(labelled: Labelled) -> Outcome:
    found = discrimination(labelled)
    figures: dict[str, float] = {}
    for name, metric in (("auroc", found.auroc), ("ap", found.ap)):
        figures |= {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high}
    return Outcome(figures, labelled)


def _figures(labelled: Labelled) -> dict[str, float]:
    area, precision = weighted_areas(labelled, float(labelled.abnormal.mean()))
    return {"auroc": area, "ap": precision}


def _halves(rng: np.random.Generator, normal: Part, abnormal: Part) -> Iterator[list[Part]]:
    """Split normals and abnormals by patient; yield both of either half."""
    patients = rng.permutation(np.union1d(normal.patients, abnormal.patients))
    first = patients[: len(patients) // 2]
    for side in (True, False):
        half = [part.where(np.isin(part.patients, first) == side) for part in (normal, abnormal)]
        if not all(map(len, half)):
            raise DataError("a half of the patients has no image of one class; this needs more patients")
        yield half


def _mixture(rng: np.random.Generator, parts: list[Part], share: float) -> list[Part]:
    """Draw normals and abnormals at the share, as many as there are; at least one abnormal."""
    normal, abnormal = (part.where(rng.permutation(len(part))) for part in parts)
    n_abnormal = max(1, min(len(abnormal), round(share * len(normal) / (1 - share))))
    n_normal = max(1, min(len(normal), round(n_abnormal * (1 - share) / share)))
    if n_abnormal == 1:
        n_normal = len(normal)
    every: NDArray[np.intp] = np.arange(max(len(normal), len(abnormal)))
    return [normal.where(every[:n_normal]), abnormal.where(every[:n_abnormal])]
