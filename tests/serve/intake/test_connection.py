"""Connections that keep the service waiting, and more of them than there may be."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.patience import PATIENCE, wait_until
from tests.serve.process import CLIENT

from msde.serve.intake import connection
from msde.serve.intake.connection import Connection, Connections, Stage

ATTACKER = "127.0.0.2"
LIMIT, LIMIT_OF_ONE = 20, 5


@dataclass
class Server:
    """Uvicorn with our connections in a thread, and what its application saw."""

    connections: Connections = field(default_factory=lambda: Connections(LIMIT, LIMIT_OF_ONE, ["127.0.0.1"]))
    port: int = 0
    loop: asyncio.AbstractEventLoop | None = None
    broken_off: int = 0
    asked_for_much: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    holding: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> Starlette:
        @asynccontextmanager
        async def life(_):
            self.loop = asyncio.get_running_loop()
            yield {"connections": self.connections}

        async def length(request: Request) -> Response:
            try:
                return JSONResponse(len(await request.body()))
            except ClientDisconnect:
                self.broken_off += 1
                raise

        async def refuse(_: Request) -> Response:
            return Response(status_code=401)

        async def large(_: Request) -> Response:
            self.asked_for_much += 1
            return Response(bytes(50_000_000))

        async def hold(_: Request) -> Response:
            self.holding += 1
            await self.held.wait()
            return JSONResponse("done")

        ways = {"/length": length, "/refuse": refuse, "/large": large, "/hold": hold}
        routes = [Route(path, way, methods=["GET", "POST"]) for path, way in ways.items()]
        return Starlette(routes=routes, lifespan=life)

    def connect(self, data: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), PATIENCE, (source, 0))
        made.sendall(data)
        return made

    def get(self, path: str = "/length") -> int:
        return CLIENT.get(f"{self.url}{path}").status_code


def ended(made: socket.socket) -> bool:
    """Wait until the server closes a connection; return whether it answered nothing before."""
    try:
        return made.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def quick(monkeypatch):
    """Have all times pass a hundred times as fast."""
    monkeypatch.setattr(connection, "LOOK", 0.02)
    for name in ("HEAD", "REST", "BODY", "READER"):
        stage: Stage = getattr(connection, name)
        monkeypatch.setattr(connection, name, Stage(stage.name, stage.seconds / 100))


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    config = uvicorn.Config(server.app(), port=0, http=Connection, ws="none", log_config=None, log_level="critical")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        wait_until(lambda: running.started, "a server")
        server.port = running.servers[0].sockets[0].getsockname()[1]
        yield server
    finally:
        running.force_exit = running.should_exit = True
        thread.join(PATIENCE)


HALF = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "data", [b"", b"GET /len", HALF, HALF + b"\r\n", HALF + b"\r\nabc"], ids=["nothing", "line", "head", "body", "part"]
)
@pytest.mark.usefixtures("quick")
def test_what_is_begun_and_not_gone_on_with_is_closed(data):
    with serving() as server, server.connect(data) as made:
        assert ended(made)
        wait_until(lambda: not len(server.connections), "no connection")
        wait_until(lambda: server.broken_off == (b"\r\n\r\n" in data), "an end of what the application does")
        assert server.get() == 200


def test_a_body_has_to_get_on_within_its_time(monkeypatch):
    monkeypatch.setattr(connection, "LOOK", 1e9)  # but by this test
    with serving() as server, server.connect(HALF + b"\r\n") as made:
        (one,) = wait_until(lambda: list(server.connections._open), "the connection")
        wait_until(lambda: one.stage is connection.BODY, "the body that is waited for")

        def look(now: float) -> bool:
            """Look at it as if so many seconds had passed; return whether it is still open."""

            async def check() -> bool:
                one.check(now)
                return len(server.connections) == 1

            assert server.loop is not None
            return asyncio.run_coroutine_threadsafe(check(), server.loop).result(PATIENCE)

        assert look(0)
        assert look(29)
        made.sendall(bytes(connection.LEAST))
        wait_until(lambda: one._moved >= connection.LEAST, "what was sent")
        assert look(31)
        assert look(60)
        made.sendall(bytes(connection.LEAST - 1))
        wait_until(lambda: one._moved == connection.LEAST - 1, "what was sent")
        assert not look(62)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_body_that_trickles_is_not():
    with serving() as server, server.connect(HALF + b"\r\n") as made, pytest.raises(OSError, match=r"reset|pipe"):
        while True:
            made.sendall(b"x")
            threading.Event().wait(0.02)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_who_does_not_take_the_answer_is_closed():
    with serving() as server, server.connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"):
        wait_until(lambda: server.asked_for_much and not len(server.connections), "no connection")


@pytest.mark.usefixtures("quick")
def test_a_body_that_is_not_wanted_is_not_read_for_long():
    with serving() as server, server.connect(HALF.replace(b"/length", b"/refuse") + b"\r\n") as made:
        assert made.recv(1000).startswith(b"HTTP/1.1 401")
        assert ended(made)


def test_an_idle_connection_is_kept_for_a_further_request():
    with serving() as server, httpx.Client(base_url=server.url) as client:
        for _ in range(3):
            assert client.get("/length").status_code == 200
            assert len(server.connections) == 1


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", b"GET /length HTTP/1.1\r\n", b"GET /refuse HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize(("source", "most"), [("127.0.0.1", LIMIT), (ATTACKER, LIMIT_OF_ONE)])
def test_1100_connections_without_a_request_leave_room(data, source, most):
    with serving() as server, ExitStack() as stack:
        for number in range(1100):
            stack.enter_context(server.connect(data, source))
            assert len(server.connections) <= most + 1  # that of another, just before
            if not number % 100:
                assert server.get() == 200
        wait_until(lambda: len(server.connections) == most, "as many as there may be")


@pytest.mark.slow
@pytest.mark.parametrize(("source", "most"), [("127.0.0.1", LIMIT), (ATTACKER, LIMIT_OF_ONE)])
def test_what_is_at_work_is_not_closed_but_the_new_one_refused(source, most):
    with serving() as server, ExitStack() as stack:
        held = []
        for _ in range(most):
            held.append(stack.enter_context(server.connect(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", source)))
        wait_until(lambda: server.holding == most, "requests at work")
        refused = stack.enter_context(server.connect(b"", source))
        assert refused.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert ended(refused)
        server.held._loop.call_soon_threadsafe(server.held.set)  # type: ignore[attr-defined]
        assert all(made.recv(1000).startswith(b"HTTP/1.1 200 ") for made in held)


LIMITS = """
import json, resource
from msde.serve.intake.connection import Connections, raise_file_limit
from msde.serve.settings import Settings
before = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, min(before[1], {hard})))
most = raise_file_limit()
print(json.dumps([most, resource.getrlimit(resource.RLIMIT_NOFILE)[0], Connections.of(Settings("", ()))._limit]))
"""


@pytest.mark.parametrize(("hard", "expected"), [(999, [999, 999, 333]), (3000, [3000, 3000, 500])])
def test_the_limit_of_files_is_raised_and_leaves_room_beside_connections(hard, expected):
    done = subprocess.run([sys.executable, "-c", LIMITS.format(hard=hard)], capture_output=True, text=True)
    assert json.loads(done.stdout) == expected, done.stderr
