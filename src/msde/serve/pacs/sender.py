"""Results out: what waits in the outbox is made into DICOM objects, stored in the archive and read back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from msde.errors import DataError, ImageError, MSDEError
from msde.model.score import ImageScore, VolumeScore
from msde.serve.logs import log, log_failure
from msde.serve.pacs.dicomweb import PacsDownError, PacsError
from msde.serve.storage import outbox
from msde.serve.storage.tables import Image, Model, Outgoing, Score, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydicom import Dataset

    from msde.dicom import Scored
    from msde.model.anomaly_model import AnomalyModel
    from msde.serve.pacs.dicomweb import Pacs
    from msde.serve.service import Service

_BATCH = 20


def send(pacs: Pacs, service: Service, stopped: Callable[[], bool] = lambda: False) -> Counter[str]:
    """Send what is due to an archive.

    An attempt counts against a result only where the archive answers otherwise: while it is down, everything waits.

    Parameters
    ----------
    pacs : Pacs
    service : msde.serve.service.Service
    stopped : callable
        Whether to leave off after the present result.

    Returns
    -------
    Counter of str
        How many were "sent", and how many "failed".

    Raises
    ------
    PacsDownError
        If it does not answer; nothing is lost.
    """
    done = Counter[str]()
    while not stopped():
        with service.database.read() as session:
            rows = outbox.due(session, _BATCH, pacs.settings.name)
        if not rows:
            break
        for row in rows:
            if stopped():
                break
            done[_send(row, pacs, service)] += 1
    return done


def _send(row: Outgoing, pacs: Pacs, service: Service) -> str:
    try:
        objects = _objects(row, service)
    except (OSError, SQLAlchemyError):
        raise
    except Exception as error:  # one result that cannot be made must not hold up the others
        if not isinstance(error, MSDEError):
            log_failure("the objects of a result cannot be made", error)
        reason = str(error) if isinstance(error, MSDEError) else f"it cannot be made ({type(error).__name__})"
        _mark(row, service, reason, for_good=isinstance(error, DataError | ImageError))
        return "failed"
    try:
        pacs.store(objects)
    except PacsError as error:
        if isinstance(error, PacsDownError):
            pacs.check()  # raises where all of the archive is down, and then this result is not to blame
        _mark(row, service, str(error))
        return "failed"
    _mark(row, service)
    return "sent"


def _mark(row: Outgoing, service: Service, reason: str | None = None, *, for_good: bool = False) -> None:
    with service.database.write() as session:
        if session.get(Outgoing, row.id) is None:  # the image was deleted in the meantime
            return
        if reason is None:
            outbox.sent(session, row)
            return
        outbox.failed(session, row, reason, for_good=for_good)
    log("warning", "a result was not stored", pacs=row.destination, attempt=row.attempts + 1, reason=reason)


def _objects(row: Outgoing, service: Service) -> Sequence[Dataset]:
    """Make the objects of a result; the same again at each attempt."""
    from msde.dicom import ResultObjects

    chosen = (
        select(Score, Image, Version, Model)
        .join(Image, Image.id == Score.image_id)
        .join(Version, Version.id == Score.version_id)
        .join(Model, Model.id == Score.model_id)
        .where(Score.id == row.score_id)
    )
    with service.database.read() as session:
        found = session.execute(chosen).one_or_none()
    if found is None:
        raise DataError("the result is no longer there")
    score, image, version, named = found
    if score.scored is None:
        raise DataError("the result is no longer there")
    model = service.models.version(version.id)
    describer = ResultObjects(model, named.name, str(version.number), version.sha256)
    objects = describer.objects(_scored(score, image, model, service), score.scored.astimezone().replace(tzinfo=None))
    if objects is None:
        raise DataError("the image is no DICOM, so there is no study for its result")
    return list(objects)


def _scored(score: Score, image: Image, model: AnomalyModel, service: Service) -> Scored:
    """Put a score beside its image; of a volume the slices' scores are not kept, so it is scored again."""
    from msde.dicom import Scored, beside_sources

    sources = service.store.sources(image)
    if image.suffix != ".series" and score.n_parts == 1 and len(sources) == 1:
        value, p_value = score.anomaly_score, score.p_value
        if value is None:
            raise DataError("the result has no score")
        flagged = None if p_value is None else value > model.calibration_.threshold
        row = ImageScore(str(sources[0]), value, float("nan") if p_value is None else p_value, flagged, None)
        return Scored(row, (sources[0],))
    volume = None
    for one in beside_sources(model.score_iter(sources), sources):
        if isinstance(one.score, VolumeScore):
            volume = one
    if volume is None or volume.score.error is not None:
        raise DataError("the volume cannot be scored again; see the worklist")
    return volume
