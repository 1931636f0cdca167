"""Connections: how many there may be, and how long one may keep the service waiting.

Uvicorn itself takes as many as come, and waits for ever for the rest of a request.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from msde.serve.logs import log
from msde.serve.settings import Settings

FILES = 16_384
"""Files and connections that a process may have open, where the system lets it."""
LOOK = 1.0
"""Seconds between two looks at all connections."""
LEAST = 16_384
"""Bytes of a body or an answer that have to get on in the time of a `Stage`."""
_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Stage(NamedTuple):
    """What the service waits for, and how many seconds."""

    name: str
    seconds: float


HEAD = Stage("the head of a request", 10)
REST = Stage("the rest of a body that is not wanted", 5)
IDLE = Stage("a further request", 30)
BODY = Stage("the body of a request", 30)
READER = Stage("the reader of an answer", 30)
_MAKE_ROOM = (HEAD, REST, IDLE)  # those that are closed for a new connection, the first before the others


def raise_file_limit() -> int:
    """Let this process and those to come open as many files as they may, up to `FILES`; return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Connections:
    """The connections of a process, of which those are closed that keep it waiting.

    Parameters
    ----------
    limit : int
        How many there may be. For one more, the oldest that has no request under way is closed; where all have, the
        new one is refused.
    limit_of_one : int
        How many of one address, likewise.
    exempt : collection of str
        Addresses, such as a proxy's, that have the limit of all.
    ending : callable
        Called when the service is about to stop, which waits for answers: those that have no end are to end then.
    """

    def __init__(
        self,
        limit: int,
        limit_of_one: int,
        exempt: Collection[str] = (),
        ending: Callable[[], object] = lambda: None,
    ) -> None:
        self.ending = ending
        self._limit, self._limit_of_one, self._exempt = limit, limit_of_one, exempt
        self._open: dict[Connection, str] = {}  # with the address, the oldest first
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, settings: Settings, ending: Callable[[], object] = lambda: None) -> Connections:
        """Return those of a process, which leave it two thirds of the files that it may open."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = settings.connections if files == resource.RLIM_INFINITY else min(settings.connections, files // 3)
        return cls(most, settings.connections_of_one, settings.proxies, ending)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection, address: str) -> bool:
        """Make room for a connection; return whether there is."""
        if address not in self._exempt:
            of_one = [other for other, theirs in self._open.items() if theirs == address]
            if len(of_one) >= self._limit_of_one and not _make_room(of_one):
                return False
        if len(self._open) >= self._limit and not _make_room(self._open):
            return False
        self._open[connection] = address
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)
        return True

    def forget(self, connection: Connection) -> None:
        """Take a connection out that has ended."""
        self._open.pop(connection, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in list(self._open):
            connection.check(loop.time())
        self._timer = loop.call_later(LOOK, self._look) if self._open else None


def _make_room(connections: Iterable[Connection]) -> bool:
    """Close the connection that is missed least; return whether there is one."""
    stages = {connection: connection.stage for connection in connections}
    for wanted in _MAKE_ROOM:
        for connection, stage in stages.items():
            if stage is wanted:
                connection.drop(stage)
                return True
    return False


class Connection(H11Protocol):
    """Uvicorn's connection, counted by the `Connections` that the application's lifespan has put into its state."""

    _waiting: tuple[Stage | None, object] = (None, None)  # with the request
    _since = 0.0
    _moved = 0  # bytes since then
    _unsent = 0  # bytes of an answer at the last look

    @property
    def stage(self) -> Stage | None:
        """What is waited for; None where the service itself is at work."""
        cycle = self.cycle
        if self.transport.get_write_buffer_size():
            return READER
        if cycle is not None and not cycle.response_complete:
            return BODY if cycle.more_body and not self.flow.read_paused else None
        if self.conn.their_state is h11.SEND_BODY:
            return REST
        return HEAD if self.timeout_keep_alive_task is None else IDLE

    def check(self, now: float) -> None:
        """Close the connection if it has kept the service waiting for too long."""
        stage, unsent = self.stage, self.transport.get_write_buffer_size()
        if unsent != self._unsent:  # where more was written too, there was room for it
            self._moved += max(self._unsent - unsent, LEAST if unsent > self._unsent else 0)
            self._unsent = unsent
        goes_on = stage in (BODY, READER) and self._moved >= LEAST
        if (stage, self.cycle) != self._waiting or goes_on:
            self._waiting, self._since, self._moved = (stage, self.cycle), now, 0
        elif stage is not None and now - self._since > stage.seconds:
            self.drop(stage)

    def drop(self, stage: Stage) -> None:
        """Close the connection at once."""
        if stage is not IDLE:
            log("info", "a connection was closed that kept the service waiting", waited_for=stage.name)
        self._all.forget(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take part in what is counted, or be refused."""
        super().connection_made(transport)
        self._all: Connections = self.app_state["connections"]
        if not self._all.admit(self, self.client[0] if self.client else ""):
            log("warning", "a connection was refused, because all that there may be have a request under way")
            transport.write(_REFUSAL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        self._all.forget(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Finish the answer that is under way."""
        self._all.ending()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a body."""
        self._moved += len(data)
        super().data_received(data)
