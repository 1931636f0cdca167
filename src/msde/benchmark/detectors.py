"""Detectors by name: how each learns from normals, some from labelled abnormals too, and what it scores.

What scikit-learn and PyOD offer is taken from there with their own settings, on standardised embeddings; nothing is
tuned. Sources of the others: GDE, arXiv 2404.04518 (MedIAnomaly) and arXiv 2604.19191; per-level Mahalanobis distances,
Rippel, Mertens, Merhof, ICPR 2020; displacement, arXiv 2602.03293.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

import msde  # its estimators when they are asked for: they bring all of scikit-learn into each process
from msde.benchmark.classifiers import discriminant, logistic_regression, nearest_labelled
from msde.benchmark.draws import Subset
from msde.errors import DataError
from msde.method.calibration import Calibration
from msde.method.density_weights import density_weights
from msde.method.detection import Mode
from msde.method.gaussian import fit_empirical, fit_ledoit_wolf
from msde.method.inductive_fit import fit_inductive
from msde.method.labelled_fit import HeldOutNormals
from msde.method.mean_shift import shift
from msde.method.standardizer import Standardizer

Rows = NDArray[Any]
Score = Callable[[Rows], NDArray[np.float64]]
Oddness = Callable[[Rows], Rows]  # of rows in standard units; numbers of any type


@dataclass(frozen=True)
class Lesson:
    """What a detector learns from."""

    normals: Rows  # (n, ...), in the detector's space
    seed: int = 0  # of whatever is random in it
    pool: Rows | None = None  # (m, ...): unlabelled images, for a detector that learns from them too
    # (k, 2): first column and end of each feature map's part of an embedding; of maps (views, parts, 3): their shapes
    spans: NDArray[np.int64] | None = None
    patients: NDArray[np.int64] | None = None  # (n,): the patient of each of the normals


Teach = Callable[[Lesson], Callable[[Subset], Score]]
"""Learns from normals; what it gives learns from labelled abnormals too."""


@dataclass(frozen=True)
class Detector:
    """A way to learn from normals."""

    fit: Callable[[Lesson], Score]  # turns a Lesson into a function that scores rows; the higher, the more abnormal
    about: str
    # "embedding", "patches", "places", "tokens", "pixels" or "files": its rows are embeddings (d,), patches of feature
    # maps (p, c), what heat maps keep of these, small grey images (s, s), or paths
    space: str = "embedding"
    batchwise: bool = False  # whether a score depends on the rows scored with it
    pooled: bool = False  # whether it learns from unlabelled images as well
    teach: Teach | None = None  # where it learns from labelled abnormal images as well
    random: bool = False  # whether a seed, or the order of the rows, changes its scores
    calibrate: Callable[[Lesson], Calibration] | None = None  # from held-out patients, where it does that


def find_detector(name: str) -> Detector:
    """Return a detector: one of `DETECTORS`, ``pyod:MODULE.CLASS`` such as ``pyod:hbos.HBOS``, or ``anomalib:CLASS``.

    Raises DataError if there is none of this name, or its library is missing.
    """
    kind, _, rest = name.partition(":")
    if kind == "pyod" and rest.count(".") == 1:
        module, _, model = rest.partition(".")
        return _from_pyod(module, model)
    if kind == "anomalib" and rest.isidentifier():
        return Detector(
            partial(_late, "anomalib_model", "fit_anomalib", model=rest), f"anomalib's {rest}", "files", random=True
        )
    if name not in DETECTORS:
        known = ", ".join(DETECTORS)
        raise DataError(f"detector {name!r} is unknown; give one of {known}, pyod:MODULE.CLASS or anomalib:CLASS")
    return DETECTORS[name]


def _msde(mode: Mode, lesson: Lesson, enhancer: msde.MeanShiftEnhancer | None = None) -> Score:
    return msde.MSDEDetector(mode, enhancer=enhancer).fit(lesson.normals, unlabelled=lesson.pool).anomaly_score


def _teach_msde(lesson: Lesson) -> Callable[[Subset], Score]:
    groups = _groups(lesson)
    numbers = None if groups is None else np.unique(groups, return_inverse=True)[1]
    held_out = HeldOutNormals.fit(lesson.normals, fit_inductive, numbers)
    return lambda labels: held_out.with_labels(labels.rows, labels.patients).scorer.score


def _teach(learn: Callable[[Rows, Rows], Oddness], lesson: Lesson) -> Callable[[Subset], Score]:
    """Learn to tell normals from labelled abnormals, both in standard units of the normals."""
    standardizer = Standardizer.fit(lesson.normals)
    normals = standardizer.apply(lesson.normals)

    def fit(labels: Subset) -> Score:
        score = learn(normals, standardizer.apply(labels.rows))
        return lambda rows: np.asarray(score(standardizer.apply(rows)), dtype=np.float64)

    return fit


def _without_labels(lesson: Lesson) -> Score:
    raise DataError("the detector learns from labelled abnormal images; use few-labels or open-set")


def _groups(lesson: Lesson) -> NDArray[np.int64] | None:
    """Return the patients of the normals where several are known."""
    return lesson.patients if lesson.patients is not None and len(np.unique(lesson.patients)) > 1 else None


def _calibrated_msde(lesson: Lesson) -> Calibration:
    """Return held-out scores of the normals, those of a patient held out together."""
    return msde.MSDEDetector().fit(lesson.normals, groups=_groups(lesson)).calibration_


def _as_published(lesson: Lesson) -> Score:
    return _msde("transductive", lesson, msde.MeanShiftEnhancer(weighting="published"))


def _standardised(learn: Callable[[Rows, Lesson], Oddness]) -> Callable[[Lesson], Score]:
    """Learn from normals in their own standard units, and score rows in these."""

    @wraps(learn)
    def fit(lesson: Lesson) -> Score:
        standardizer = Standardizer.fit(lesson.normals)
        score = learn(standardizer.apply(lesson.normals), lesson)
        return lambda rows: np.asarray(score(standardizer.apply(rows)), dtype=np.float64)

    return fit


@_standardised
def _gde(normals: Rows, lesson: Lesson) -> Oddness:
    return fit_empirical(normals).mahalanobis


@_standardised
def _ledoit_wolf(normals: Rows, lesson: Lesson) -> Oddness:
    return fit_ledoit_wolf(normals).mahalanobis


@_standardised
def _per_level(normals: Rows, lesson: Lesson) -> Oddness:
    spans = [slice(*span) for span in ([(0, normals.shape[1])] if lesson.spans is None else lesson.spans.tolist())]
    gaussians = [fit_ledoit_wolf(normals[:, span]) for span in spans]
    levels = list(zip(gaussians, spans, strict=True))
    return lambda rows: sum((gaussian.mahalanobis(rows[:, span]) for gaussian, span in levels), np.zeros(len(rows)))


@_standardised
def _displacement(normals: Rows, lesson: Lesson) -> Oddness:
    def score(rows: Rows) -> Rows:
        union = np.vstack([normals, rows])
        _, _, displacement = shift(union, density_weights(union, "published"))
        return displacement[len(normals) :]

    return score


@_standardised
def _frozen_displacement(normals: Rows, lesson: Lesson) -> Oddness:
    trajectory = msde.MeanShiftEnhancer().fit(normals).trajectory_
    return lambda rows: trajectory.follow(rows)[1]


def _isolation_forest(lesson: Lesson) -> Score:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(random_state=lesson.seed).fit(lesson.normals)
    return lambda rows: -forest.score_samples(rows)


@_standardised
def _lof(normals: Rows, lesson: Lesson) -> Oddness:
    from sklearn.neighbors import LocalOutlierFactor

    lof = LocalOutlierFactor(min(20, len(normals) - 1), novelty=True).fit(normals)
    return lambda rows: -lof.score_samples(rows)


@_standardised
def _ocsvm(normals: Rows, lesson: Lesson) -> Oddness:
    from sklearn.svm import OneClassSVM

    machine = OneClassSVM().fit(normals)
    return lambda rows: -machine.score_samples(rows)


def _from_pyod(module: str, name: str) -> Detector:
    kind = partial(_pyod_class, module, name)
    random, about = "random_state" in inspect.signature(kind()).parameters, f"PyOD's {name}"
    if _needs_labels(kind()):
        return Detector(_without_labels, about, random=random, teach=partial(_teach_pyod, kind))
    return Detector(partial(_fit_pyod, kind), about, random=random)


def _needs_labels(model: Any) -> bool:
    """Whether a class of PyOD, such as XGBOD, cannot be fitted without labels."""
    labels = inspect.signature(model.fit).parameters.get("y")
    return labels is not None and labels.default is inspect.Parameter.empty


def _seeded(model: Any, lesson: Lesson) -> Any:
    return model(**({"random_state": lesson.seed} if "random_state" in inspect.signature(model).parameters else {}))


def _fit_pyod(kind: Callable[[], Any], lesson: Lesson) -> Score:
    return _standardised(lambda normals, _: _seeded(kind(), lesson).fit(normals).decision_function)(lesson)


def _teach_pyod(kind: Callable[[], Any], lesson: Lesson) -> Callable[[Subset], Score]:
    def learn(normals: Rows, abnormal: Rows) -> Oddness:
        classes = np.repeat([0, 1], [len(normals), len(abnormal)])
        return _seeded(kind(), lesson).fit(np.vstack([normals, abnormal]), classes).decision_function

    return _teach(learn, lesson)


def _pyod_class(module: str, name: str) -> Any:
    try:
        return getattr(import_module(f"pyod.models.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"detector pyod:{module}.{name}: {error}; run `pip install 'msde[pyod]'` or correct it"
        ) from error


def _late(module: str, function: str, lesson: Lesson, **settings: Any) -> Score:
    """Import what needs torch or has much to it when it is used."""
    fit: Callable[..., Score] = getattr(import_module(f"msde.benchmark.{module}"), function)
    return fit(lesson, **settings)


def _pyod(module: str, name: str) -> Callable[[Lesson], Score]:
    """Give one of PyOD's, which is imported at its first fit: with Numba and Matplotlib that takes a second."""
    return partial(_fit_pyod, partial(_pyod_class, module, name))


DETECTORS: dict[str, Detector] = {
    "msde": Detector(
        partial(_msde, "inductive"), "MSDEDetector, the default: one image at a time", calibrate=_calibrated_msde
    ),
    "msde-adaptive": Detector(partial(_msde, "adaptive"), "MSDEDetector with an unlabelled pool", pooled=True),
    "msde-transductive": Detector(
        partial(_msde, "transductive"), "mean shift of normals and batch, order-free weights", batchwise=True
    ),
    "msde-published": Detector(
        _as_published,
        "mean shift of normals and batch, as the official scripts compute it",
        batchwise=True,
        random=True,
    ),
    "gde": Detector(_gde, "Gaussian on at most 256 principal axes"),
    "ledoit-wolf": Detector(_ledoit_wolf, "Gaussian with Ledoit-Wolf covariance"),
    "per-level": Detector(_per_level, "Mahalanobis distances of the feature maps' parts, summed"),
    "displacement": Detector(
        _displacement, "path length of the shift of normals and batch", batchwise=True, random=True
    ),
    "displacement-frozen": Detector(_frozen_displacement, "path length along the frozen shift of the normals"),
    "knn": Detector(_pyod("knn", "KNN"), "distance to the fifth neighbour (PyOD)"),
    "lof": Detector(_lof, "local outlier factor (scikit-learn)"),
    "ocsvm": Detector(_ocsvm, "one-class support vector machine (scikit-learn)"),
    "isolation-forest": Detector(_isolation_forest, "isolation forest (scikit-learn)", random=True),
    # These two take the ranks of the normals and the batch together.
    "ecod": Detector(_pyod("ecod", "ECOD"), "empirical tail probabilities (PyOD)", batchwise=True),
    "copod": Detector(_pyod("copod", "COPOD"), "empirical copula (PyOD)", batchwise=True),
    "msde-labelled": Detector(_without_labels, "MSDEDetector with labelled abnormal images", teach=_teach_msde),
    "logistic-regression": Detector(
        _without_labels, "ridged logistic regression (scikit-learn)", teach=partial(_teach, logistic_regression)
    ),
    "shrunk-lda": Detector(
        _without_labels, "linear discriminant with Ledoit-Wolf covariance", teach=partial(_teach, discriminant)
    ),
    "nearest-labelled": Detector(
        _without_labels,
        "distance to normals less that to the nearest label",
        teach=partial(_teach, nearest_labelled),
    ),
    "padim": Detector(
        partial(_late, "patches", "fit_padim"), "PaDiM: a Gaussian for each place of the maps", "patches", random=True
    ),
    "patchcore": Detector(
        partial(_late, "patches", "fit_patchcore"),
        "PatchCore-style: nearest patches of a core set",
        "patches",
        random=True,
    ),
    "heat-places": Detector(
        partial(_late, "heat", "fit_heat", kind="places"), "hottest hundredth of heat maps, by places", "places"
    ),
    "heat-modes": Detector(
        partial(_late, "heat", "fit_heat", kind="modes"),
        "by modes of unit tokens (AnomalyDINO-like)",
        "tokens",
    ),
    "heat-subspace": Detector(
        partial(_late, "heat", "fit_heat", kind="subspace"),
        "by a subspace of unit tokens (SubspaceAD-like)",
        "tokens",
    ),
    "autoencoder": Detector(
        partial(_late, "autoencoder", "fit_autoencoder"), "small denoising autoencoder (torch)", "pixels", random=True
    ),
}
