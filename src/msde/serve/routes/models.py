"""The models: their versions, thresholds, false alarms and drift."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from sqlalchemy import func, select

from msde.method.calibration import HIGHEST_RATE, LOWEST_RATE
from msde.method.predictive_value import PREVALENCE
from msde.serve import audit, schemas, worklist
from msde.serve.models import Current
from msde.serve.recalibration import recalibrate
from msde.serve.routes.access import REFUSALS, Admin, Reader, Served, ThisModel, TokenFirst, refusals
from msde.serve.service import Service
from msde.serve.storage import queue
from msde.serve.storage.tables import Image, Score, Version

router = APIRouter(route_class=TokenFirst, prefix="/api/models", tags=["models"], responses=REFUSALS)
CURVE = 2000


@router.get("")
def models(service: Served, caller: Reader) -> schemas.Models:
    """List the models."""
    return schemas.Models(models=[_described(service, current) for current in service.models])


@router.get("/{model}")
def model(service: Served, caller: Reader, current: ThisModel) -> schemas.ModelWithCurve:
    """Describe a model, with the scores of its held-out normals."""
    scores = service.models.calibration(current).scores
    chosen = np.linspace(0, len(scores) - 1, min(CURVE, len(scores))).round().astype(int)
    return schemas.ModelWithCurve(**dict(_described(service, current)), curve=scores[chosen].tolist())


@router.get("/{model}/tally")
def tally(
    service: Served,
    caller: Reader,
    current: ThisModel,
    alpha: Annotated[float | None, Query(ge=LOWEST_RATE, le=HIGHEST_RATE, allow_inf_nan=False)] = None,
    prevalence: Annotated[float, Query(gt=0, lt=1, allow_inf_nan=False)] = PREVALENCE,
) -> schemas.Tally:
    """Count false alarms among confirmed normals, at the rate in use or another; say what a flag tells."""
    if alpha is not None:
        current = service.models.at_rate(current, alpha)
    with service.database.read() as session:
        return worklist.tally(session, current, service.models.calibration(current), prevalence)


@router.get("/{model}/drift")
def drift(service: Served, caller: Reader, current: ThisModel) -> schemas.Drift:
    """Whether the latest images look like the normals that the model is calibrated on."""
    with service.database.read() as session:
        images = len(worklist.latest_scores(session, current))
    found = worklist.drift_of(service.database, service.models, current)
    return schemas.Drift(
        found=found.found,
        distance=found.distance,
        explained=found.explained,
        higher=found.higher,
        unseen_rate=found.unseen_rate(current.alpha),
        images=images,
    )


@router.put("/{model}/threshold")
def set_threshold(service: Served, caller: Admin, current: ThisModel, body: schemas.Threshold) -> schemas.Model:
    """Set the false-alarm rate at which images are flagged."""
    if body.alpha is not None:
        service.models.at_rate(current, body.alpha)
    with service.database.write() as session:
        service.models.set_alpha(session, current, body.alpha)
        audit.record(session, caller.user, "threshold", model=current.name, alpha=body.alpha)
    return _afresh(service, current)


@router.put("/{model}/version", responses=refusals(409))
def set_version(service: Served, caller: Admin, current: ThisModel, body: schemas.VersionChoice) -> schemas.Model:
    """Make an earlier or later version current."""
    with service.database.write() as session:
        service.models.set_version(session, current, body.version, body.instead_of)
        audit.record(session, caller.user, "version", model=current.name, version=body.version)
    return _afresh(service, current)


@router.post("/{model}/recalibrate", status_code=201, responses=refusals(409))
def calibrate(service: Served, caller: Admin, current: ThisModel, body: schemas.Threshold) -> schemas.Model:
    """Make a new version, calibrated on the images that readers call normal."""
    recalibrate(service, current, body.alpha, caller.user)
    return _afresh(service, current)


@router.post("/{model}/rescore", status_code=202)
def rescore(service: Served, caller: Admin, current: ThisModel) -> schemas.Queued:
    """Queue all images that the current version has not scored, and those that it could not."""
    has = select(Score.image_id).where(Score.version_id == current.version_id)
    of_model = select(Score.image_id).where(Score.model_id == current.model_id)
    with service.database.write() as session:
        there = select(Image.id).where(Image.purged.is_(None))
        missing = session.scalars(there.where(Image.id.in_(of_model), Image.id.not_in(has))).all()
        queued = len(missing) + queue.retry(session, current.version_id)
        queue.put(service.database, session, [(i, current.model_id, current.version_id) for i in missing])
        audit.record(session, caller.user, "rescore", model=current.name, images=queued)
    return schemas.Queued(queued=queued)


def _afresh(service: Service, current: Current) -> schemas.Model:
    service.models.refresh()
    return _described(service, service.models.named(current.name))


def _described(service: Service, current: Current) -> schemas.Model:
    loaded, calibration = service.models.version(current.version_id), service.models.calibration(current)
    with service.database.read() as session:
        versions = session.scalars(
            select(Version).where(Version.model_id == current.model_id).order_by(Version.number)
        ).all()
        normals = select(func.count()).select_from(Score).join(Image, Image.id == Score.image_id)
        confirmed = session.scalar(
            normals.where(
                Score.model_id == current.model_id,
                Score.shown,
                Score.seen_in_training.is_(False),
                Image.verdict == "normal",
                Image.purged.is_(None),
            )
        )
        waiting = session.scalar(
            select(func.count())
            .select_from(Score)
            .where(Score.model_id == current.model_id, Score.state.in_(queue.WAITING))
        )
    info, labels = loaded.info(), loaded.fitted.labels
    return schemas.Model(
        name=current.name,
        version=current.number,
        versions=[schemas.Version.model_validate(version) for version in versions],
        alpha=current.alpha,
        own_alpha=current.own_alpha,
        threshold=worklist.finite(calibration.threshold),
        normals=len(calibration.scores),
        resolution=calibration.resolution,
        mode=info["mode"],
        has_overlays=loaded.explains,
        colours=loaded.colours.legend() if loaded.explains else None,
        has_normals=service.normals.has(current),
        has_labelled=service.labelled.has(current),
        labelled=labels.in_words() if labels else None,
        confirmed_normals=confirmed or 0,
        queued=waiting or 0,
        info=info,
    )
