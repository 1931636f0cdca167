"""What a message says of a study: fields by name, as `template` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from msde import __version__
from msde.errors import DataError, ImageError
from msde.images.dicom_header import read_header, read_text
from msde.output.words import how_often
from msde.serve.identifiers import Identifiers
from msde.serve.search import pseudonym
from msde.serve.service import Service
from msde.serve.storage.tables import Identity, Image, Model, Outgoing, Score, SealedIdentifiers, Version

_HL7_TIME = "%Y%m%d%H%M%S+0000"


class Flagged(NamedTuple):
    """A flagged image that waits in the outbox, with all that is said of it."""

    row: Outgoing
    score: Score
    image: Image
    version: Version
    model: Model


def waiting(session: Session, receiver: str) -> list[Flagged]:
    """List what waits for a receiver, the longest first."""
    chosen = (
        select(Outgoing, Score, Image, Version, Model)
        .join(Score, Score.id == Outgoing.score_id)
        .join(Image, Image.id == Score.image_id)
        .join(Version, Version.id == Score.version_id)
        .join(Model, Model.id == Score.model_id)
        .where(Outgoing.destination == receiver, Outgoing.state == "waiting")
        .order_by(Outgoing.id)
    )
    return [Flagged(*found) for found in session.execute(chosen)]


def of_one_study(flagged: Sequence[Flagged]) -> list[list[Flagged]]:
    """Put those of a study and model together; an image of no known study is one by itself."""
    studies: dict[tuple[str, int], list[Flagged]] = {}
    for one in flagged:
        studies.setdefault((one.image.study or f"image {one.image.id}", one.model.id), []).append(one)
    return list(studies.values())


def fields(flagged: Sequence[Flagged], service: Service, page: str, *, identifiers: bool) -> dict[str, str]:
    """Return what a message says of the flagged images of a study.

    Parameters
    ----------
    flagged : sequence of Flagged
    service : Service
    page : str
        Address of the service for readers.
    identifiers : bool
        Whether it says whose the study is.

    Raises
    ------
    DataError
        If there is no score any more.
    """
    _, score, image, version, model = min(flagged, key=lambda one: one.score.p_value or 0.0)
    if score.p_value is None or score.anomaly_score is None or score.scored is None:
        raise DataError("the result is no longer there")
    with service.database.read() as session:
        identity = session.scalars(select(Identity.id)).one()
        sealed = session.get(SealedIdentifiers, image.id) if identifiers else None
    now, scored = datetime.now(UTC), score.scored.astimezone(UTC)
    volume = score.n_parts > 1
    words = f"flagged with p = {score.p_value:.2g}" if volume else how_often(score.p_value, version.normals)
    told = {
        "event": f"msde-{identity[:8]}-{min(one.row.id for one in flagged)}",
        "time": now.isoformat(timespec="seconds"),
        "time_hl7": now.strftime(_HL7_TIME),
        "scored": scored.isoformat(timespec="seconds"),
        "scored_hl7": scored.strftime(_HL7_TIME),
        "study": pseudonym(image.study) or f"image {image.id}",
        "images": str(len(flagged)),
        "image": str(image.id),
        "modality": image.modality,
        "body_part": image.body_part or "",
        "model": model.name,
        "version": str(version.number),
        "p_value": f"{score.p_value:.6g}",
        "anomaly_score": f"{score.anomaly_score:.6g}",
        "words": words,
        "url": f"{page.rstrip('/')}/#model={quote(model.name)}&image={image.id}" if page else "",
        "msde": __version__,
    }
    return told | (_whose(image, sealed, service) if identifiers else {})


def _whose(image: Image, sealed: SealedIdentifiers | None, service: Service) -> dict[str, str]:
    vault = service.headers.vault
    opened = vault.open(sealed.content, image.digest) if vault is not None and sealed is not None else None
    known = opened or Identifiers()
    family, _, given = known.name.partition(", ")
    return {
        "patient_id": known.patient_id,
        "patient_name": known.name,
        "family": family,
        "given": given,
        "birth_year": known.birth_year,
        "sex": known.sex,
        "accession": known.accession,
        "study_date": known.study_date,
        "study_date_hl7": known.study_date.replace("-", ""),
        "study_description": known.study_description,
        "station": known.station,
        "study_uid": _study_uid(image, service),
    }


def _study_uid(image: Image, service: Service) -> str:
    path = service.store.path(image.digest, image.suffix)
    try:
        header = read_header(min(path.iterdir()) if path.is_dir() else path)
    except (ImageError, OSError, ValueError):  # its picture was removed
        return ""
    return (read_text(header, "StudyInstanceUID") or "") if header is not None else ""
