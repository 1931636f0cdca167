"""What readers say."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import select

from msde.output.score_table import csv_row
from msde.serve import audit, worklist
from msde.serve.errors import NotFound
from msde.serve.patients import say_of_patients
from msde.serve.routes.access import REFUSALS, ImageId, OfModel, Reader, Served, TokenFirst
from msde.serve.schemas import NewVerdict, Verdict
from msde.serve.storage.tables import Image, Model, Score, Version
from msde.serve.storage.tables import Verdict as Row

router = APIRouter(route_class=TokenFirst, prefix="/api", tags=["verdicts"], responses=REFUSALS)
COLUMNS = (
    *("image", "name", "digest", "verdict", "note", "reader", "at"),
    *("model", "version", "anomaly_score", "p_value", "evidence", "patient_p_value"),
)


@router.post("/images/{id}/verdicts", status_code=201)
def judge(service: Served, caller: Reader, current: OfModel, id: ImageId, body: NewVerdict) -> Verdict:
    """Store a verdict beside what the model says now; earlier ones stay."""
    with service.database.write() as session:
        image = session.scalars(select(Image).where(Image.id == id).with_for_update()).one_or_none()
        if image is None:
            raise NotFound(f"there is no image {id}")
        chosen = select(Score).where(Score.image_id == id, Score.model_id == current.model_id, Score.shown)
        score = session.scalars(chosen).one_or_none()
        version = None if score is None else session.get_one(Version, score.version_id)
        verdict = Row(
            image_id=id,
            version_id=version.id if version else None,
            verdict=body.verdict,
            note=body.note,
            reader=caller.user,
            anomaly_score=score.anomaly_score if score else None,
            p_value=score.p_value if score else None,
        )
        session.add(verdict)
        image.verdict = body.verdict
        audit.record(session, caller.user, "verdict", id, verdict=body.verdict, model=current.name)
        session.flush()
    service.metrics.verdict(body.verdict)
    return worklist.verdict_row(verdict, current.name if version else None, version.number if version else None)


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
