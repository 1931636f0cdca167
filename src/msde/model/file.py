"""A fitted model as a file and back; docs/model-file.md is its specification."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from msde.backbones.runtime import check_device
from msde.embedding.encoder import Encoder, EncoderSession
from msde.errors import ModelFileError, MSDEError
from msde.heatmaps.localizer import Localizer
from msde.images import stored_rule
from msde.method.calibration import Calibration
from msde.method.patient_score import PatientCalibration
from msde.method.scorers import SCORERS, LabelledScorer
from msde.model.applicability import Applicability
from msde.model.fingerprint import Fingerprint
from msde.model.fitted import FittedModel
from msde.model.labels import Labels
from msde.storage.bundle import ArraysByPart, read_bundle, write_bundle
from msde.storage.records import put_together, take_apart

MAX_INPUT_SIZE = 2048


def write_model(fitted: FittedModel, path: str | os.PathLike[str]) -> None:
    """Write a fitted model, see :meth:`msde.model.anomaly_model.AnomalyModel.save`."""
    records = {
        "scorer": fitted.scorer,
        "calibration": fitted.images,
        "fingerprint": fitted.fingerprint,
        "images": fitted.rule,
        **({"volumes": fitted.volumes} if fitted.volumes else {}),
        **({"patients": fitted.patients} if fitted.patients else {}),
        **({"labels": fitted.labels} if fitted.labels else {}),
        **({"applies_to": fitted.applies_to} if fitted.applies_to else {}),
    }
    taken = {part: take_apart(record) for part, record in records.items()}
    parts = {part: arrays for part, (arrays, _) in taken.items() if arrays}
    heatmaps = fitted.localizer
    write_bundle(
        path,
        {**parts, **fitted.encoder.arrays(), **(heatmaps.arrays() if heatmaps else {})},
        {
            **{part: settings for part, (_, settings) in taken.items()},
            **({"localizer": heatmaps.describe()} if heatmaps else {}),
            "libraries": dict(fitted.libraries),
            "encoder": fitted.encoder.describe(),
            "mode": fitted.mode,
        },
    )


def read_model(path: str | os.PathLike[str], device: str = "cpu") -> tuple[FittedModel, EncoderSession]:
    """Read a model and set its networks to work, see :meth:`msde.model.anomaly_model.AnomalyModel.load`."""
    check_device(device)  # first, because a device that is absent is no fault of the file
    config, parts = read_bundle(path)
    try:
        fitted = _fitted(config, parts)
        session = EncoderSession(fitted.encoder, threads=1, device=device)
        _check(fitted, session)
    except KeyError as error:
        raise ModelFileError(f"{path}: the model lacks {error}; restore the file from a copy or fit again") from error
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: is no model ({error}); restore the file from a copy or fit again") from error
    except MSDEError as error:
        raise ModelFileError(f"{path}: {error}") from error
    return fitted, session


def _fitted(config: Mapping[str, Any], parts: ArraysByPart) -> FittedModel:
    def calibration(part: str) -> Calibration:
        return put_together(Calibration, parts[part], config[part])

    return FittedModel(
        encoder=Encoder.from_description(config["encoder"], parts),
        rule=stored_rule(config),
        scorer=put_together(SCORERS[config["mode"]], parts["scorer"], config["scorer"]),
        images=calibration("calibration"),
        volumes=calibration("volumes") if "volumes" in config else None,
        patients=put_together(PatientCalibration, parts["patients"], config["patients"])
        if "patients" in config
        else None,
        localizer=Localizer.from_description(config["localizer"], parts) if "localizer" in config else None,
        fingerprint=put_together(Fingerprint, parts["fingerprint"], config["fingerprint"]),
        libraries=config["libraries"],
        labels=put_together(Labels, parts["labels"], config["labels"]) if "labels" in config else None,
        applies_to=put_together(Applicability, {}, config["applies_to"]) if "applies_to" in config else None,
    )


def _check(fitted: FittedModel, session: EncoderSession) -> None:
    """Try one embedding, so that arrays which do not fit together are found at loading."""
    if max(fitted.encoder.input_sizes) > MAX_INPUT_SIZE:
        raise ValueError(f"an input of {max(fitted.encoder.input_sizes)} px is larger than {MAX_INPUT_SIZE}")
    if fitted.localizer is not None:
        fitted.localizer.check(session.map_channels())
    if (fitted.labels is not None) != isinstance(fitted.scorer, LabelledScorer):
        raise ValueError("labels and a scorer that learnt from them go together")
    n_labelled = len(fitted.scorer.likeness.labelled) if isinstance(fitted.scorer, LabelledScorer) else 0
    if fitted.labels is not None and len(fitted.labels.of_rows) != n_labelled:
        raise ValueError("the scorer has another number of labelled images than the labels")
    score = fitted.scorer.score(np.zeros((1, session.dim), dtype=np.float32))
    if score.shape != (1,):
        raise ValueError("the scorer gives no single score an image")
