"""A fitted model as a file and back; docs/model-file.md is its specification."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from msde.backbones.session import execution_providers
from msde.embedding.encoder import Encoder
from msde.errors import ModelFileError, MSDEError
from msde.heatmaps.localizer import Localizer
from msde.images import LEGACY_RULE, ImageRule
from msde.method.calibration import Calibration
from msde.method.scorers import SCORERS, Scorer
from msde.model.fingerprint import Fingerprint
from msde.storage.bundle import read_bundle, write_bundle
from msde.storage.records import put_together, take_apart

if TYPE_CHECKING:
    from msde.model.anomaly_model import AnomalyModel, Cache

MAX_INPUT_SIZE = 2048


def write_model(model: AnomalyModel, path: str | os.PathLike[str]) -> None:
    """Write a fitted model, see :meth:`msde.model.anomaly_model.AnomalyModel.save`."""
    records = {
        "scorer": model.scorer_,
        "calibration": model.calibration_,
        "fingerprint": model.fingerprint_,
        "images": model.rule,
        **({"volumes": model.volumes_} if model.volumes_ else {}),
    }
    taken = {part: take_apart(record) for part, record in records.items()}
    parts = {part: arrays for part, (arrays, _) in taken.items() if arrays}
    heatmaps = model.localizer_
    write_bundle(
        path,
        {**parts, **model.encoder.arrays(), **(heatmaps.arrays() if heatmaps else {})},
        {
            **{part: settings for part, (_, settings) in taken.items()},
            **({"localizer": heatmaps.describe()} if heatmaps else {}),
            "libraries": model.libraries_,
            "encoder": model.encoder.describe(),
            "mode": mode_of(model.scorer_),
        },
    )


def read_model(
    kind: type[AnomalyModel], path: str | os.PathLike[str], cache: Cache | None = None, device: str = "cpu"
) -> AnomalyModel:
    """Read a model, see :meth:`msde.model.anomaly_model.AnomalyModel.load`."""
    execution_providers(device)  # first, for a device that is absent is no fault of the file
    config, parts = read_bundle(path)
    try:
        encoder = Encoder.from_description(config["encoder"], parts)
        rule = put_together(ImageRule, {}, config["images"]) if "images" in config else LEGACY_RULE
        model = kind(encoder.backbones, cache=cache, looks=encoder.looks, rule=rule, device=device)
        model.scorer_ = put_together(SCORERS[config["mode"]], parts["scorer"], config["scorer"])
        model.calibration_ = put_together(Calibration, parts["calibration"], config["calibration"])
        model.volumes_ = None
        if "volumes" in config:
            model.volumes_ = put_together(Calibration, parts["volumes"], config["volumes"])
        model.fingerprint_ = put_together(Fingerprint, parts["fingerprint"], config["fingerprint"])
        model.libraries_ = config["libraries"]
        model.localizer_ = None
        if "localizer" in config:
            model.localizer_ = Localizer.from_description(config["localizer"], parts)
            model.localizer_.check(model._session)
        _check_widths(model)
    except KeyError as error:
        raise ModelFileError(f"{path}: the model lacks {error}; restore the file from a copy or fit again") from error
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: is no model ({error}); restore the file from a copy or fit again") from error
    except MSDEError as error:
        raise ModelFileError(f"{path}: {error}") from error
    model.unreadable_, model.distrusted_, model.n_copies_, model.peak_ = [], [], 0, float("nan")
    return model


def mode_of(scorer: Scorer) -> str:
    """Name the mode that a scorer is of."""
    return next(mode for mode, kind in SCORERS.items() if isinstance(scorer, kind))


def _check_widths(model: AnomalyModel) -> None:
    """Try one embedding, so that arrays which do not fit together are found at loading."""
    if max(model.encoder.input_sizes) > MAX_INPUT_SIZE:
        raise ValueError(f"an input of {max(model.encoder.input_sizes)} px is larger than {MAX_INPUT_SIZE}")
    score = model.scorer_.score(np.zeros((1, model._session.dim), dtype=np.float32))
    if score.shape != (1,):
        raise ValueError("the scorer gives no single score an image")
