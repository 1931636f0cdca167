"""A new version of a model from the images that readers call normal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import undefer

from msde.errors import DataError
from msde.method.calibration import normals_needed
from msde.model.anomaly_model import AnomalyModel
from msde.serve.audit import record
from msde.serve.errors import Conflict
from msde.serve.models import Current
from msde.serve.service import Service
from msde.serve.storage import queue
from msde.serve.storage.store import SERIES
from msde.serve.storage.tables import Image, Score, Version

_CHUNK = 500
_COPIED = (
    *("image_id", "model_id", "anomaly_score", "n_parts", "top_parts", "seen_in_training", "scored"),
    *("evidence", "part_scores"),
)


def recalibrate(service: Service, current: Current, alpha: float | None, user: str) -> None:
    """Calibrate the current version on the confirmed normals, as a new version, and carry its scores over.

    The scores stay, because neither network nor scorer changes; p-values and flags follow the new calibration.

    Parameters
    ----------
    service : Service
    current : Current
    alpha : float or None
        Target false-alarm rate of the new version; None: the one in use.
    user : str
        Who asks for it.

    Raises
    ------
    Conflict
        If too few normals are confirmed to flag anything at that rate, or another version became current meanwhile.
    """
    alpha = current.alpha if alpha is None else alpha
    images = _confirmed(service, current)
    needed = normals_needed(alpha)
    if len(images) < needed:
        raise Conflict(
            f"{len(images)} images are confirmed as normal and scored by the current version; at least {needed} are"
            f" needed to flag anything at a false-alarm rate of {alpha:g}"
        )
    sources = [service.store.sources(image)[0] for image in images]

    def change(model: AnomalyModel) -> tuple[AnomalyModel, str]:
        try:
            model.calibrate(sources, alpha)
        except DataError as error:
            raise Conflict(f"the confirmed normals cannot calibrate the model: {error}") from None
        used = len(model.calibration_.scores)
        if used < needed:
            raise Conflict(
                f"{used} of the {len(images)} images confirmed as normal can be used, as the others are copies or"
                f" cannot be read; at least {needed} are needed to flag anything at a false-alarm rate of {alpha:g}"
            )
        if math.isinf(model.calibration_.threshold):
            raise Conflict(
                f"the confirmed normals are of {model.calibration_.n_units} patients, too few to flag anything at a"
                f" false-alarm rate of {alpha:g}"
            )
        return model, f"recalibrated from version {current.number} on {used} confirmed normals"

    made = service.models.make(current, change)
    with service.database.write() as session:
        version_id = service.models.add(session, current, made, user)
        service.models.adopt(session, current, version_id)
        service.models.set_alpha(session, current, None)
        number = session.get_one(Version, version_id).number
        record(session, user, "recalibrate", model=current.name, version=number, normals=made.n_normals, alpha=alpha)
        done = select(Score).where(Score.version_id == current.version_id, Score.state == "scored")
        done = done.options(undefer(Score.part_scores))
        already = set(session.scalars(select(Score.image_id).where(Score.version_id == version_id)))
        copies = [
            _copy(score, version_id, made.model) for score in session.scalars(done) if score.image_id not in already
        ]
        for start in range(0, len(copies), _CHUNK):
            session.execute(insert(Score), copies[start : start + _CHUNK])
        queue.prefer(session, current.model_id, version_id)
    service.models.refresh()


def _confirmed(service: Service, current: Current) -> list[Image]:
    """List single images that readers call normal, which the model has scored and was not fitted on."""
    chosen = (
        select(Image)
        .join(Score, Score.image_id == Image.id)
        .where(
            Image.verdict == "normal",
            Image.purged.is_(None),
            Image.suffix != SERIES,
            Score.version_id == current.version_id,
            Score.state == "scored",
            Score.n_parts == 1,
            Score.seen_in_training.is_(False),
        )
        .order_by(Image.id)
    )
    with service.database.read() as session:
        return list(session.scalars(chosen))


def _copy(score: Score, version_id: int, model: AnomalyModel) -> dict[str, Any]:
    values = {name: getattr(score, name) for name in _COPIED}
    calibration = model.calibration_ if score.n_parts == 1 else model.volumes_
    p_value = None
    if calibration is not None and score.anomaly_score is not None:
        p_value = float(calibration.p_values(np.array([score.anomaly_score]))[0])
    return {**values, "version_id": version_id, "shown": False, "state": "scored", "p_value": p_value}
