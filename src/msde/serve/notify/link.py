"""What a file of notifications plugs into the service: routes, and in the process that leads the senders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from threading import Event, Thread
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from sqlalchemy import func, select, update

from msde.serve import audit
from msde.serve.notify.notifier import notify
from msde.serve.notify.settings import NotifyFile
from msde.serve.periodic import Periodic
from msde.serve.routes.access import REFUSALS, Admin, Served, TokenFirst
from msde.serve.service import Service
from msde.serve.storage.tables import Outgoing, now

SEND_SECONDS = 2.0  # pause between two looks into the outbox
_STOP_WITHIN = 3.0
_LEAD_SECONDS = 2.0
_MOST = 500


class ReceiverState(BaseModel):
    """How a receiver does; `error` is why its last round failed, `done` when the last good one ended."""

    name: str
    done: datetime | None
    error: str | None
    outbox: dict[str, int]


class DeadNotification(BaseModel):
    """An image of which a receiver could not be told."""

    id: int
    receiver: str
    attempts: int
    error: str | None


class Notifications(BaseModel):
    """All receivers, and what is given up (500 at most)."""

    receivers: list[ReceiverState]
    dead: list[DeadNotification]


class Again(BaseModel):
    """How many images' notifications are tried again."""

    notifications: int


@contextmanager
def plug(app: FastAPI, service: Service, file: NotifyFile) -> Iterator[None]:
    """Add the routes, and send in the process that leads.

    Parameters
    ----------
    app : FastAPI
    service : Service
        Started.
    file : NotifyFile
    """
    jobs = [
        Periodic(receiver.name, SEND_SECONDS, partial(_round, receiver, file.page, service))
        for receiver in file.receivers
    ]
    app.router.routes.extend(_router(file, jobs).routes)
    stop = Event()
    later = Thread(target=_lead, args=(service, jobs, stop), name="msde-notify", daemon=True)
    later.start()
    try:
        yield
    finally:
        stop.set()
        for job in jobs:
            job.stop()
        later.join(_STOP_WITHIN)
        for job in jobs:
            job.join(_STOP_WITHIN / len(jobs))


def _round(receiver: Any, page: str, service: Service, stopped: Any) -> None:
    notify(receiver, page, service, stopped)


def _lead(service: Service, jobs: list[Periodic], stop: Event) -> None:
    """Begin as soon as this process leads."""
    while not service.leadership.held:
        if stop.wait(_LEAD_SECONDS):
            return
    for job in jobs:
        job.start()


def _router(file: NotifyFile, jobs: list[Periodic]) -> APIRouter:
    router = APIRouter(route_class=TokenFirst, prefix="/api/notifications", tags=["notifications"], responses=REFUSALS)
    of_ours = Outgoing.destination.in_(file.names)

    @router.get("")
    def state(service: Served, caller: Admin) -> Notifications:
        """Return how the receivers do, and of what they could not be told."""
        with service.database.read() as session:
            counted = select(Outgoing.destination, Outgoing.state, func.count()).where(of_ours)
            counts: dict[str, dict[str, int]] = {name: {} for name in file.names}
            for name, word, n in session.execute(counted.group_by(Outgoing.destination, Outgoing.state)):
                counts[name][word] = n
            dead = session.scalars(select(Outgoing).where(of_ours, Outgoing.state == "dead").limit(_MOST)).all()
        return Notifications(
            receivers=[
                ReceiverState(name=job.name, done=job.done, error=job.error, outbox=counts[job.name]) for job in jobs
            ],
            dead=[
                DeadNotification(id=row.id, receiver=row.destination, attempts=row.attempts, error=row.error)
                for row in dead
            ],
        )

    @router.post("/retry")
    def retry(service: Served, caller: Admin) -> Again:
        """Try everything again at once: what is given up, and what waits for its next attempt."""
        with service.database.write() as session:
            again = update(Outgoing).where(of_ours, Outgoing.state != "sent")
            changed: Any = session.execute(again.values(state="waiting", attempts=0, next_try=now()))
            audit.record(session, caller.user, "retry notifications")
        for job in jobs:
            job.wake()
        return Again(notifications=changed.rowcount)

    return router
