"""What readers say."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from msde.model.verdicts import WITHDRAWN
from msde.output.score_table import csv_row
from msde.serve import audit, readings, worklist
from msde.serve.errors import Conflict, NotFound
from msde.serve.intake.auth import Caller
from msde.serve.models import Current
from msde.serve.patients import say_of_patients
from msde.serve.reading import Given, NewVerdict
from msde.serve.routes.access import REFUSALS, ImageId, OfModel, Reader, Served, TokenFirst, refusals
from msde.serve.storage.tables import Image, Model, Score, Version
from msde.serve.storage.tables import Verdict as Row

router = APIRouter(route_class=TokenFirst, prefix="/api", tags=["verdicts"], responses=REFUSALS)
COLUMNS = (
    *("image", "name", "digest", "verdict", "note", "reader", "at"),
    *("model", "version", "anomaly_score", "p_value", "evidence", "patient_p_value"),
)


@router.post("/images/{id}/verdicts", status_code=201, responses=refusals(409))
def judge(service: Served, caller: Reader, current: OfModel, id: ImageId, body: NewVerdict) -> Given:
    """Store a verdict beside what the model says now; earlier ones stay."""
    with service.database.write() as session:
        image = _image(session, id)
        score = _score(session, current, id)
        now = readings.seen(session, id, score, caller.user)
        if body.seen is not None and body.seen != now:
            changes = readings.changes(session, id, body.seen, now, caller.user)
            raise Conflict(f"not stored, because since you looked {changes}; look again, then repeat")
        given = _stored(session, caller, current, image, score, body.verdict, body.note)
    service.metrics.verdict(body.verdict)
    return given


@router.delete("/images/{id}/verdicts", responses=refusals(409))
def withdraw(service: Served, caller: Reader, current: OfModel, id: ImageId) -> Given:
    """Take the caller's own verdict of an image back; the record keeps that it was given."""
    with service.database.write() as session:
        image = _image(session, id)
        own = select(Row.verdict).where(Row.image_id == id, Row.reader == caller.user).order_by(Row.id.desc())
        if session.scalar(own.limit(1)) in (None, WITHDRAWN):
            raise Conflict("there is no verdict of yours to take back; those of others are theirs")
        given = _stored(session, caller, current, image, _score(session, current, id), WITHDRAWN)
    service.metrics.verdict(WITHDRAWN)
    return given


def _image(session: Session, id_: int) -> Image:
    """Find an image, and let nobody else judge it meanwhile."""
    image = session.scalars(select(Image).where(Image.id == id_).with_for_update()).one_or_none()
    if image is None:
        raise NotFound(f"there is no image {id_}")
    return image


def _score(session: Session, current: Current, id_: int) -> Score | None:
    chosen = select(Score).where(Score.image_id == id_, Score.model_id == current.model_id, Score.shown)
    return session.scalars(chosen).one_or_none()


def _stored(
    session: Session, caller: Caller, current: Current, image: Image, score: Score | None, word: str, note: str = ""
) -> Given:
    """Store what a reader says, and what all readers' words come to then."""
    version = None if score is None else session.get_one(Version, score.version_id)
    row = Row(
        image_id=image.id,
        version_id=version.id if version else None,
        verdict=word,
        note=note,
        reader=caller.user,
        anomaly_score=score.anomaly_score if score else None,
        p_value=score.p_value if score else None,
    )
    session.add(row)
    session.flush()
    readings.settle(session, image)
    audit.record(session, caller.user, "verdict", image.id, verdict=word, model=current.name)
    given = worklist.verdict_row(row, current.name if version else None, version.number if version else None)
    return Given.model_validate({**dict(given), "settled": image.verdict, "readers": image.readers})


@router.get("/verdicts.csv", responses={200: {"content": {"text/csv": {}}}}, response_class=Response)
def export(service: Served, caller: Reader, current: OfModel) -> Response:
    """Return every verdict given beside a score of the model as CSV, the oldest first."""
    beside = (Model.name, Version.number, Row.anomaly_score, Row.p_value, Score.evidence)
    chosen = (
        select(Image.patient, Image.id, Image.name, Image.digest, Row.verdict, Row.note, Row.reader, Row.at, *beside)
        .join(Image, Image.id == Row.image_id)
        .outerjoin(Version, Version.id == Row.version_id)
        .outerjoin(Model, Model.id == Version.model_id)
        .outerjoin(Score, (Score.image_id == Row.image_id) & (Score.version_id == Row.version_id))
        .where((Version.model_id == current.model_id) | Row.version_id.is_(None))
        .order_by(Row.id)
    )
    calibration = service.models.version(current.version_id).patients_
    with service.database.write() as session:  # for that alone: nobody else can write meanwhile
        audit.record(session, caller.user, "export", model=current.name)
    with service.database.read() as session:
        rows = session.execute(chosen).all()
        patients = {row.patient for row in rows if row.patient is not None}
        together = say_of_patients(session, current, calibration, patients)
    lines = [csv_row(COLUMNS)]
    for patient, id_, name, digest, verdict, note, reader, at, *numbers in rows:
        of_patient = together.get(patient or "")
        p_value = of_patient.p_value if of_patient else None
        lines.append(csv_row((id_, name, digest, verdict, note, reader, at.isoformat(), *numbers, p_value)))
    headers = {"content-disposition": 'attachment; filename="verdicts.csv"'}
    return Response("".join(lines), media_type="text/csv; charset=utf-8", headers=headers)
