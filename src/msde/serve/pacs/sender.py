"""Results out: what waits in the outbox is made into DICOM objects, stored in the archive and read back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from msde.errors import DataError, ImageError, MSDEError
from msde.model.anomaly_model import AnomalyModel
from msde.model.score import ImageScore
from msde.serve.logs import log, log_failure
from msde.serve.pacs.dicomweb import Pacs, PacsDownError, PacsError, as_file
from msde.serve.pacs.instance import Instance
from msde.serve.pacs.intake import Fate
from msde.serve.service import Service
from msde.serve.storage import outbox
from msde.serve.storage.dicom_ledger import DicomLedger
from msde.serve.storage.store import SERIES
from msde.serve.storage.tables import Image, Model, Outgoing, Score, Version

if TYPE_CHECKING:
    from pydicom import Dataset

_BATCH = 20


def send(pacs: Pacs, service: Service, stopped: Callable[[], bool] = lambda: False) -> Counter[str]:
    """Send what is due to an archive.

    An attempt counts against a result only where the archive answers otherwise: while it is down, everything waits.

    Parameters
    ----------
    pacs : Pacs
    service : msde.serve.service.Service
    stopped : callable
        Whether to stop after the present result.

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
    ledger = DicomLedger(service.database)
    for one in objects:  # before they are sent, because they may come back at once
        instance = Instance.of(as_file(one))
        ledger.note(instance.uid, Fate.OWN, instance.pixels)
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
    if image.purged is not None:
        raise DataError("its picture was removed before the result was sent; the archive has to be asked for longer")
    if score.scored is None:
        raise DataError("the result is no longer there")
    model = service.models.version(version.id)
    results = ResultObjects(model, named.name, str(version.number), version.sha256)
    scored_at = score.scored.astimezone().replace(tzinfo=None)
    objects = results.objects(_with_sources(score, image, model, service), scored_at)
    if objects is None:
        raise DataError("the image is no DICOM, so there is no study for its result")
    return list(objects)


def _with_sources(row: Score, image: Image, model: AnomalyModel, service: Service) -> ImageScore:
    """Return the score of a row with its sources; a volume is scored again, because its slices' scores are not kept."""
    sources = service.store.sources(image)
    if image.suffix != SERIES and row.n_parts == 1 and len(sources) == 1:
        value, p_value = row.anomaly_score, row.p_value
        if value is None:
            raise DataError("the result has no score")
        flagged = None if p_value is None else value > model.calibration_.threshold
        p_value = math.nan if p_value is None else p_value
        return ImageScore(str(sources[0]), value, p_value, flagged, None, source=sources[0], evidence=row.evidence)
    volumes = [score for score in model.score_iter(sources) if score.is_volume]
    if not volumes or volumes[-1].error is not None:
        raise DataError("the volume cannot be scored again; see the worklist")
    return volumes[-1]
