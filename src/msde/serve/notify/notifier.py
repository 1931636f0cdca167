"""What waits in the outbox for a receiver is put together by study, sent, and put on record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import select

from msde.errors import DataError
from msde.serve.audit import SERVICE, record
from msde.serve.logs import log
from msde.serve.notify.delivery import RefusedError, deliver
from msde.serve.notify.settings import Hl7Receiver, HttpReceiver
from msde.serve.notify.study import Flagged, fields, of_one_study, waiting
from msde.serve.service import Service
from msde.serve.storage import outbox
from msde.serve.storage.queue import WAITING
from msde.serve.storage.tables import Image, Outgoing, Score, now

_LONGEST_WAIT = 10  # times `wait_seconds`, in which a study has been told of even if it never comes to rest


def notify(
    receiver: HttpReceiver | Hl7Receiver, page: str, service: Service, stopped: Callable[[], bool] = lambda: False
) -> Counter[str]:
    """Send what is due to a receiver, a message a study.

    Parameters
    ----------
    receiver : Receiver
    page : str
        Address of the service for readers.
    service : Service
    stopped : callable
        Whether to stop after the present study.

    Returns
    -------
    Counter of str
        How many were "sent", and how many "failed".

    Raises
    ------
    ReceiverDownError
        If it does not answer; nothing is lost, and no attempt counts.
    """
    done = Counter[str]()
    with service.database.read() as session:
        if not outbox.due(session, 1, receiver.name):
            return done
        studies = of_one_study(waiting(session, receiver.name))
    for study in studies:
        if stopped():
            break
        if _is_due(study) and _is_at_rest(study, receiver.wait_seconds, service):
            done[_send(study, receiver, page, service)] += 1
    return done


def _is_due(study: Sequence[Flagged]) -> bool:
    return any(one.row.next_try <= now() or one.row.next_try > outbox.latest() for one in study)


def _is_at_rest(study: Sequence[Flagged], seconds: float, service: Service) -> bool:
    """Whether nothing of the study came lately or waits to be scored, or it was waited for long enough."""
    quiet, first = timedelta(seconds=seconds), study[0]
    if now() - min(one.row.created for one in study) > _LONGEST_WAIT * quiet:
        return True
    same = Image.study == first.image.study if first.image.study else Image.id == first.image.id
    with service.database.read() as session:
        late = select(Image.id).where(same, Image.arrived > now() - quiet, Image.arrived <= now())
        unscored = (
            select(Score.id)
            .join(Image, Image.id == Score.image_id)
            .where(same, Score.model_id == first.model.id, Score.state.in_(WAITING))
        )
        return session.scalars(late.limit(1)).first() is None and session.scalars(unscored.limit(1)).first() is None


def _send(study: Sequence[Flagged], receiver: HttpReceiver | Hl7Receiver, page: str, service: Service) -> str:
    reason, for_good = None, False
    try:
        told = fields(study, service, page, identifiers=receiver.identifiers)
        deliver(receiver, receiver.message.fill(told), told["event"])
    except (DataError, RefusedError) as error:
        reason, for_good = str(error), isinstance(error, DataError)
    with service.database.write() as session:
        rows = [row for one in study if (row := session.get(Outgoing, one.row.id)) is not None]
        for row in rows:
            if reason is None:
                outbox.sent(session, row)
            else:
                outbox.failed(session, row, reason, for_good=for_good)
        if reason is None:
            facts = {"receiver": receiver.name, "event": told["event"], "images": len(rows)}
            record(session, SERVICE, "notify", study[0].image.id, **facts, identifiers=receiver.identifiers)
    if reason is not None:
        log("warning", "a notification was not taken", receiver=receiver.name, reason=reason)
    return "sent" if reason is None else "failed"
