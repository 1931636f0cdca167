"""What happens, told to the pages that listen: a look at the database a few times a second, whichever process did it.

No name, note or identifier is told, only what kind of thing has changed, and the numbers of images: a page asks for
them as it always does, and is answered by its right to them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import func, select

from msde.serve.errors import Busy
from msde.serve.logs import log_failure
from msde.serve.storage.database import Database
from msde.serve.storage.queue import WAITING
from msde.serve.storage.tables import Audit, Model, Score

Kind = Literal["images", "verdicts", "models", "learning"]

LOOK = 0.3
"""Seconds between two looks, while somebody listens."""
MOST_OF_ONE = 20
"""Pages of one user that may listen at once."""
_KEPT = 256  # changes; who is further behind is told that anything may have changed
_AGAIN = 5.0  # seconds after which a database that does not answer is asked again
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("upload", "delete", "purge", "replace", "rescore", "assign"), "images"),
    "verdict": "verdicts",
    **dict.fromkeys(("learn", "learnt"), "learning"),
}
_FOR_ADMINS = ("learning",)


class _State(NamedTuple):
    """What there was at a look."""

    audit: int  # number of the last line
    models: tuple[object, ...]
    queued: tuple[object, ...]


class Change(NamedTuple):
    """What has changed."""

    kind: Kind
    image: int | None  # that it is about, where it is about one


@dataclass(frozen=True)
class Changes:
    """What has changed since a page was told last.

    Parameters
    ----------
    number : int
        To be asked for those after.
    kinds : tuple of str
    images : tuple of int or None
        Numbers of images; None where it may be any.
    """

    number: int
    kinds: tuple[str, ...]
    images: tuple[int, ...] | None


class Events:
    """Tells of changes.

    Nothing is kept for a page but how far it has been told, so that one that reads slowly holds no memory.

    Parameters
    ----------
    database : Database
    most : int
        Pages that may listen to this process at once.
    counted : callable
        Called with how many listen.
    """

    def __init__(self, database: Database, most: int, counted: Callable[[int], object]) -> None:
        self._database, self._most, self._counted = database, most, counted
        self._listening: Counter[str] = Counter()
        self._changes: deque[tuple[int, Change]] = deque(maxlen=_KEPT)
        self._number = 0
        self._watching: asyncio.Task[None] | None = None
        self._begun, self._more = asyncio.Event(), asyncio.Event()
        self.ended = False

    def check_room(self, user: str) -> None:
        """Refuse who would be one too many.

        Raises
        ------
        Busy
        """
        if self._listening[user] >= MOST_OF_ONE or self._listening.total() >= self._most:
            raise Busy("too many pages listen; look again after the seconds of Retry-After", retry_after=60)

    @asynccontextmanager
    async def listening(self, user: str) -> AsyncIterator[int]:
        """Count a page among those that listen; gives the number to ask for changes after.

        Raises
        ------
        Busy
            Others of the same moment have taken the room that was seen.
        """
        self.check_room(user)
        self._listening[user] += 1
        self._counted(self._listening.total())
        try:
            if self._watching is None:
                self._begun = asyncio.Event()
                self._watching = asyncio.create_task(self._watch())
            await self._begun.wait()
            yield self._number
        finally:
            self._listening[user] -= 1
            self._listening += Counter()  # without those of whom none is left
            self._counted(self._listening.total())
            if not self._listening and self._watching is not None:
                self._watching.cancel()
                self._watching = None

    async def after(self, number: int, seconds: float, role: str) -> Changes | None:
        """Wait for what comes after a number, so many seconds at most; None where there is nothing for this role."""
        if self._number <= number and not self.ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._more.wait()
        if self._number <= number:
            return None
        if self._changes[0][0] > number + 1:
            return Changes(self._number, ("images", "verdicts", "models"), None)
        new = [change for place, change in self._changes if place > number]
        told = [change for change in new if role == "admin" or change.kind not in _FOR_ADMINS]
        images = {change.image for change in told}
        kinds = tuple(sorted({change.kind for change in told}))
        return Changes(self._number, kinds, None if None in images else tuple(sorted(filter(None, images))))

    def end(self) -> None:
        """Let all streams end."""
        self.ended = True
        self._tell([])

    async def _watch(self) -> None:
        state: _State | None = None
        while True:
            try:
                state, changes = await run_in_threadpool(self._look, state)
            except Exception as error:  # whatever it is, pages that listen must not wait for good
                log_failure("changes could not be looked up", error)
                await asyncio.sleep(_AGAIN)
                continue
            self._begun.set()
            if changes:
                self._tell(changes)
            await asyncio.sleep(LOOK)

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            self._number += 1
            self._changes.append((self._number, change))
        self._more.set()
        self._more = asyncio.Event()

    def _look(self, before: _State | None) -> tuple[_State, list[Change]]:
        """Find what is new: lines of the audit log, whose numbers ascend as they are committed, and the queue.

        An image that is scored leaves the queue; where another comes in at the same moment, the log has its upload.
        """
        waits = select(Score.model_id, func.count()).where(Score.state.in_(WAITING)).group_by(Score.model_id)
        with self._database.read() as session:
            latest = session.scalar(select(func.max(Audit.id))) or 0
            since = select(Audit.action, Audit.image_id).where(Audit.id > (before or (latest,))[0], Audit.id <= latest)
            lines = session.execute(since.where(Audit.action.in_(_KINDS)).order_by(Audit.id).limit(2 * _KEPT)).all()
            models = session.execute(select(Model.id, Model.version_id, Model.alpha).order_by(Model.id)).all()
            queued = session.execute(waits.order_by(Score.model_id)).all()
        now = _State(latest, tuple(map(tuple, models)), tuple(map(tuple, queued)))
        changes = [Change(_KINDS[action], image) for action, image in lines]
        if before is not None and before.models != now.models:
            changes.append(Change("models", None))
        if before is not None and before.queued != now.queued:
            changes.append(Change("images", None))
        return now, changes
