"""What holds for all cases of a worklist, and what the model is, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from msde.method.predictive_value import PREVALENCE
from msde.model.anomaly_model import AnomalyModel
from msde.output.words import at_most_told, counted, drift_in_words, how_sure, percent, unseen_in_words
from msde.report.row import VIEWER_SIDE, HeldOutScores
from msde.report.worklist import Worklist

IDENTIFIED = "patient IDs, study dates and UIDs are those of the files' headers: protect this page like the images"


def title(worklist: Worklist) -> str:
    """Return the name of the page: what it lists."""
    kinds = {"image": sum(not case.score.is_volume for case in worklist.cases)}
    kinds["volume"] = len(worklist.cases) - kinds["image"]
    return f"Worklist of {' and '.join(counted(n, kind) for kind, n in kinds.items() if n) or 'no images'}"


def lines(
    worklist: Worklist, held_out: tuple[HeldOutScores | None, HeldOutScores | None], model: AnomalyModel
) -> Iterator[str]:
    """Yield how many cases and patients are flagged, of how many to expect."""
    for compared, is_volume in zip(held_out, (False, True), strict=True):
        flags = [case.score.flagged for case in worklist.cases if case.score.is_volume == is_volume]
        flags = [flag for flag in flags if flag is not None]
        if compared and flags and math.isfinite(compared.calibration.threshold):
            alpha = compared.calibration.alpha
            yield (
                f"{sum(map(bool, flags)):,} of {counted(len(flags), compared.kind)} flagged, with p-values of at most"
                f" {alpha:g}. If all were normal, about {alpha * len(flags):.0f} would be."
            )
    known = [patient for patient in worklist.patients if patient.flagged is not None]
    if known and model.patients_:
        yield (
            f"{sum(bool(patient.flagged) for patient in known):,} of {counted(len(known), 'patient')} flagged by all of"
            f" their images together, compared with {counted(model.patients_.n_patients, 'normal patient')}."
        )


def worth(
    worklist: Worklist,
    held_out: tuple[HeldOutScores | None, HeldOutScores | None],
    model: AnomalyModel,
    prevalence: float = PREVALENCE,
) -> Iterator[str]:
    """Yield how far the rate of false alarms may lie off, what a flag tells, and that no drift is seen."""
    for compared in held_out:
        if compared and math.isfinite(compared.calibration.threshold):
            yield how_sure(compared.calibration, compared.kind)
            yield at_most_told(compared.calibration.alpha, prevalence, compared.kind)
    if not worklist.drift.found and worklist.drift.explained < 1:
        unseen = unseen_in_words(worklist.drift, model.calibration_.alpha)
        yield f"Drift: none found beyond what chance and a tenth of abnormal images explain. {unseen}"


def notices(worklist: Worklist, model: AnomalyModel) -> Iterator[str]:
    """Return the warnings."""
    calibration = model.calibration_
    if model.scorer_.batchwise:
        yield "Transductive scores depend on the batch, so they have no p-values and no flags."
    elif math.isinf(calibration.threshold):
        yield (
            f"{counted(len(calibration.scores), 'held-out normal')}: too few to flag any image at a false-alarm rate of"
            f" {calibration.alpha:g}."
        )
    if worklist.drift.found:
        yield f"Drift: {drift_in_words(worklist.drift, calibration.alpha)}"
    elif worklist.drift.explained >= 1 and not model.scorer_.batchwise:
        yield "Too few images or held-out normals to tell whether these images look like the normals."
    volumes = sum(case.score.is_volume and case.score.error is None for case in worklist.cases)
    if volumes and model.volumes_ is None and not model.scorer_.batchwise:
        yield (
            f"No p-value for {counted(volumes, 'volume')}, after the images in the list, by score: the model has not"
            " been calibrated on volumes, which `msde calibrate` does where normal volumes are among its images."
        )
    seen = sum(case.seen_in_training for case in worklist.cases)
    if seen:
        yield f"The model was fitted on {counted(seen, 'case')} of this list, whose scores are too low."
    pooled = sum(case.in_pool for case in worklist.cases)
    if pooled:
        yield (
            f"{counted(pooled, 'case')} of this list were in the unlabelled pool, which the model has learned from:"
            " what it says of them is no measure of what it says of others."
        )
    unusable = sum(case.score.error is not None for case in worklist.cases)
    if unusable:
        yield f"No score for {counted(unusable, 'case')}, at the end of the list: what is there could not be used."


def legend(images: HeldOutScores | None, volumes: HeldOutScores | None) -> str:
    """Explain order and drawings."""
    order = "The lowest p-value comes first, then what has only a score, then what has none."
    held_out = [compared for compared in (images, volumes) if compared]
    if not held_out:
        return order
    of = " or ".join(counted(len(one.calibration.scores), f"held-out normal {one.kind}") for one in held_out)
    return (
        f"{order} Grey bars: scores of {of}; dashed: the score above which a case is flagged; marker: the case itself,"
        " an arrow where it lies further to the right."
    )


def learnt(model: AnomalyModel) -> str:
    """Say what the model has learnt from, and what a high score means."""
    if model.fitted.labels is None:
        return "The model has learnt from normal images alone: scores are high where an image is unlike them."
    return (
        "The model has learnt from normal images, and from images that were labelled abnormal: scores are high where an"
        " image is unlike the former or like the latter."
    )


def card(model: AnomalyModel) -> dict[str, str]:
    """Return the facts of a model, as its file states them."""
    info: dict[str, Any] = model.info()
    training, calibration = info["training"], info["calibration"]
    threshold = calibration["threshold"]
    facts = {
        "Mode": info["mode"],
        "Fitted on": counted(training["images"], "normal image"),
        "Unlabelled images at the fit": f"{training['unlabelled']:,}",
        "Labelled abnormal images at the fit": model.fitted.labels.in_words() if model.fitted.labels else "0",
        "Fingerprint of these images": training["fingerprint"],
        "Calibrated on": f"{counted(calibration['normals'], 'normal image')} ({calibration['source']})",
        "Calibrated on volumes": f"{calibration['volumes']:,}",
        "Calibrated on patients": f"{calibration['patients']:,}",
        "Target false-alarm rate": f"{calibration['alpha']:g}",
        "False-alarm rate of this model": "–"
        if threshold is None
        else f"{percent(calibration['false_alarm_range'][0])} to {percent(calibration['false_alarm_range'][1])}"
        f" (90 % range, from {counted(calibration['units'], 'unit')})",
        "Next useful number of normals": f"{calibration['next_useful']:,}",
        "Threshold of the score": "none" if threshold is None else f"{threshold:.4g}",
        "Lowest p-value possible": f"{calibration['resolution']:.2g}",
        "Networks": "; ".join(
            f"{network['name']} ({network['licence']}; {network['source']})" for network in info["encoder"]["backbones"]
        ),
        "Looks": ", ".join(info["encoder"]["looks"]),
        "Intensities and aspect": f"{info['images']['intensity']}, {info['images']['aspect']}",
        "Libraries at the fit": ", ".join(f"{name} {version}" for name, version in info["libraries"].items()),
    }
    return {name: fact for name, fact in facts.items() if fact != "0"}


def settings(worklist: Worklist, model: AnomalyModel, identifiers: bool = False) -> dict[str, str]:
    """Return how the page was made."""
    normals = "none were given"
    if worklist.normals:
        known = model.fingerprint_.count_known(worklist.normals.digests)
        given = counted(len(worklist.normals.sources), "image")
        normals = (
            f"{given}, of which the model was fitted on {known:,}; the nearest in the model's standardised features"
        )
    labelled = {}
    if model.fitted.labels:
        given = "none were given"
        if worklist.labelled:
            n = counted(len(worklist.labelled.sources), "image")
            given = f"{n} that the model learnt from; the nearest by direction from the normals"
        labelled = {"Labelled abnormal images to compare with": given}
    return {
        "Normals to compare with": normals,
        **labelled,
        "Overlays": "from the model" if model.explains else "none: the model cannot tell where an image differs",
        "Pictures": f"reduced to at most {VIEWER_SIDE} px and compressed, for orientation only; shown by the model's"
        " rule for intensities",
        "Names": "paths below the folder that the images have in common; "
        + (IDENTIFIED if identifiers else "nothing of a file's header is shown"),
    }
