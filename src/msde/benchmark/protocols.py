"""Protocols by name: what a detector learns from, what it scores, and what is measured.

No protocol chooses anything by a label. Those that show labels to detectors which learn from them, few-labels and
open-set, score other patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from msde.benchmark.detectors import Detector, Score
from msde.benchmark.draws import Split, Subset, at_share, halves, hide, label
from msde.errors import DataError
from msde.method.calibration import Calibration, folds
from msde.method.labelled import Labelled, discrimination, weighted_areas
from msde.method.metrics import auroc

Condition = float | int | str | None
BATCHES = {0.01: 4, 0.02: 3, 0.05: 2}  # fewer abnormal images a batch, more batches
FALSE_ALARMS = {0.01: "false_alarms_01", 0.05: "false_alarms_05", 0.10: "false_alarms_10"}
"""Figures of `single`, by the target rate."""
ALONE = 3  # images scored alone, to see that they get the score that they get among others


@dataclass(frozen=True)
class Subject:
    """A detector and the set that it is put to."""

    split: Split
    detector: Detector
    fit: Callable[..., Score]  # fits the detector to normals, and to a pool where one is given
    clean: Callable[[], Score]  # gives the fit to all training normals, which is made once
    other: Callable[[str], Split]  # gives another set by name
    alpha: float = 0.05  # target false-alarm rate
    calibration: Callable[[], Calibration] | None = None  # from held-out patients, where the detector does that
    teach: Callable[[Subset], Score] | None = None  # fits to all training normals and labels, where the detector can


@dataclass(frozen=True)
class Measurement:
    """What was measured: figures by name, and the scores where all test images were scored once."""

    figures: dict[str, float]
    labelled: Labelled | None = None


Run = Callable[[Subject, Condition, np.random.Generator], Measurement]


@dataclass(frozen=True)
class Protocol:
    """A way to measure."""

    run: Run  # gives what is measured of a subject at a condition, by this source of the draw
    about: str  # what it does
    conditions: tuple[Condition, ...] = (None,)  # the default ones, such as shares
    drawn: bool = False  # whether images are drawn, so that it has to be repeated
    batchwise: bool = True  # whether detectors that score batches take part
    pooled: bool = False  # whether those that learn from a pool do
    labelled: bool = False  # whether those that learn from labels do

    def takes(self, detector: Detector) -> bool:
        """Return whether a detector can be measured so."""
        return (
            (self.batchwise or not detector.batchwise)
            and (self.pooled or not detector.pooled)
            and (self.labelled or detector.teach is None)
        )


def published(subject: Subject, condition: Condition, rng: np.random.Generator) -> Measurement:
    """Score the whole test set at once; a pool is the test set itself, without labels."""
    rows = np.concatenate([subject.split.normal.rows, subject.split.abnormal.rows])
    score = subject.fit(subject.split.train.rows, rng.permutation(rows)) if subject.detector.pooled else subject.clean()
    return _measure(_score_tested(score, subject.split.tested, rng))


def single(subject: Subject, condition: Condition, rng: np.random.Generator) -> Measurement:
    """Score each test image alone."""
    score = subject.clean()
    measured = _measure(_score_tested(score, subject.split.tested, rng))
    for number in range(min(ALONE, len(subject.split.normal))):
        alone = float(score(subject.split.normal.rows[number : number + 1])[0])
        among = float(measured.labelled.scores[number]) if measured.labelled else np.nan
        if not np.isclose(alone, among, rtol=1e-3, atol=1e-9):
            raise DataError(f"an image scores {alone:g} alone and {among:g} among others; leave the detector out here")
    if subject.calibration is None or measured.labelled is None:
        return measured
    held_out, scores = subject.calibration(), measured.labelled.scores[~measured.labelled.abnormal]
    rates = {name: float(replace(held_out, alpha=alpha).flagged(scores).mean()) for alpha, name in FALSE_ALARMS.items()}
    return replace(measured, figures=measured.figures | rates)


def label_free_quality(subject: Subject) -> float:
    """Tell held-out training normals from the unlabelled test images, as an AUROC (AUCp, IEEE TMI 2026).

    Both are scored by a fit to four fifths of the normals. Nothing but the choice among detectors and backbones rests
    on it, and that is reported apart: the figure has seen the test images, though not their labels.
    """
    train = subject.split.train.rows
    parts = list(folds(len(train)))
    held_out = np.concatenate(parts[:: max(1, len(parts) // 2)])
    score = subject.fit(np.delete(train, held_out, axis=0))
    pool = np.concatenate([subject.split.normal.rows, subject.split.abnormal.rows])
    return auroc(score(train[held_out]), score(pool))


def prevalence(subject: Subject, condition: Condition, rng: np.random.Generator) -> Measurement:
    """Score one half of the patients at a stated share of abnormal images; the other half is the pool's source.

    A detector that scores images alone scores all of the half, and its average precision is weighted to the share; the
    others score batches drawn at the share.
    """
    share = float(condition or 0)
    source, scored = halves(rng, subject.split.normal, subject.split.abnormal)
    if not subject.detector.batchwise:
        pool = np.concatenate([subset.rows for subset in at_share(rng, source, share)])
        score = subject.fit(subject.split.train.rows, pool) if subject.detector.pooled else subject.clean()
        areas = weighted_areas(_score_tested(score, scored, rng), share)
    else:
        found = []
        for _ in range(BATCHES.get(share, 1)):
            labelled = _score_tested(subject.clean(), at_share(rng, scored, share), rng)
            found.append(weighted_areas(labelled, float(labelled.abnormal.mean())))
        areas = tuple(np.mean(found, axis=0))
    return Measurement({"auroc": float(areas[0]), "ap": float(areas[1])})


def contamination(subject: Subject, condition: Condition, rng: np.random.Generator) -> Measurement:
    """Hide abnormal test images among the training normals until they are a stated share of them."""
    share = float(condition or 0)
    hidden, tested = hide(rng, subject.split, share)
    mixed = subject.fit(np.concatenate([subject.split.train.rows, hidden.rows]))
    figures = _figures(_score_tested(mixed, tested, rng))
    clean = _figures(_score_tested(subject.clean(), tested, rng))
    return Measurement({**figures, "lost": clean["auroc"] - figures["auroc"], "n_hidden": len(hidden)})


def few_normals(subject: Subject, condition: Condition, rng: np.random.Generator) -> Measurement:
    """Learn from a few training normals, drawn at random, and score the whole test set."""
    train = subject.split.train
    if condition == "all":
        score = subject.clean()
    else:
        score = subject.fit(train.rows[np.sort(rng.permutation(len(train))[: int(condition or 0)])])
    return Measurement(_figures(_score_tested(score, subject.split.tested, rng)))


def cross_site(subject: Subject, condition: Condition, rng: np.random.Generator) -> Measurement:
    """Fit on the set, calibrate on some normals of another of the same modality, and score the test images of that."""
    target = subject.other(str(condition))
    score = subject.clean()
    labelled = _score_tested(score, target.tested, rng)
    local = rng.permutation(len(target.train))[:CALIBRATION]
    sources = {"own": subject.split.normal.rows, "local": target.train.rows[np.sort(local)]}
    figures = _figures(labelled)
    for name, rows in sources.items():
        flagged = Calibration(np.sort(score(rows)), subject.alpha, name).flagged(labelled.scores)
        figures[f"false_alarms_{name}"] = float(flagged[~labelled.abnormal].mean())
        figures[f"sensitivity_{name}"] = float(flagged[labelled.abnormal].mean())
    return Measurement(figures)


def few_labels(subject: Subject, condition: Condition, rng: np.random.Generator) -> Measurement:
    """Learn from a few labelled abnormals too, of one half of their patients, and score the other half.

    The first of the shuffled labels are learned from, so that those of a draw grow with their number; where there are
    fewer than asked for, all.
    """
    drawn = label(rng, subject.split)
    labels = drawn.labels.where(np.arange(min(int(condition or 0), len(drawn.labels))))
    figures = _figures(_score_tested(_learn(subject, labels), [drawn.normal, drawn.abnormal], rng))
    return Measurement({**figures, "n_labels": len(labels)})


def open_set(subject: Subject, condition: Condition, rng: np.random.Generator) -> Measurement:
    """Label abnormals of one kind and score the other kinds, of other patients; each kind is the labelled one once."""
    drawn = label(rng, subject.split)
    found = []
    for kind in np.unique(drawn.label_kinds[drawn.label_kinds != ""]):
        labels, tested = drawn.of_kind(kind), drawn.of_others(kind)
        if all(map(len, tested)):
            labels = labels.where(np.arange(min(int(condition or 0), len(labels))))
            found.append(_figures(_score_tested(_learn(subject, labels), tested, rng)))
    if not found:
        raise DataError("no kind is left to label beside another to score; give two kinds of several patients")
    areas = [figures["auroc"] for figures in found]
    precision = float(np.mean([figures["ap"] for figures in found]))
    return Measurement(
        {"auroc": float(np.mean(areas)), "ap": precision, "auroc_worst_kind": min(areas), "n_kinds": len(found)}
    )


def _learn(subject: Subject, labels: Subset) -> Score:
    """Fit a detector that learns from labels to these; the others see none."""
    return subject.clean() if subject.teach is None else subject.teach(labels)


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
    "few-labels": Protocol(
        few_labels,
        "a few abnormal images are labelled, those of other patients are scored",
        (1, 3, 5, 10, 20, 50),
        drawn=True,
        batchwise=False,
        labelled=True,
    ),
    "open-set": Protocol(
        open_set,
        "abnormal images of one kind are labelled, the other kinds are scored",
        (3, 10, 50),
        drawn=True,
        batchwise=False,
        labelled=True,
    ),
}


def _score_tested(score: Score, tested: list[Subset], rng: np.random.Generator) -> Labelled:
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


def _measure(labelled: Labelled) -> Measurement:
    found = discrimination(labelled)
    figures: dict[str, float] = {}
    for name, metric in (("auroc", found.auroc), ("ap", found.ap)):
        figures |= {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high}
    return Measurement(figures, labelled)


def _figures(labelled: Labelled) -> dict[str, float]:
    area, precision = weighted_areas(labelled, float(labelled.abnormal.mean()))
    return {"auroc": area, "ap": precision}
