"""A service that runs as its users start it, with a model of small images, and readers at its page in Chromium."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from tests.networks import shallow
from tests.patience import PATIENCE, wait_until
from tests.pictures import write_discs
from tests.report.browser import chromium

from msde import AnomalyModel

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUEUE = 4
READER_TOKEN = "anna-reads"  # noqa: S105 - of a service that lives as long as the tests
LABELLED = "labelled"
NAMES = ("chest", "second", "recalibrated", "learning", LABELLED)


@dataclass
class Running:
    """A service of its own process."""

    port: int
    token: str
    salt: int = 0
    data: Path = Path()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            kind = "application/json" if method == "PUT" else "application/octet-stream"
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, body = self.ask("GET", path)
        assert status == 200, body
        return json.loads(body)

    def fresh(self, image: Path) -> bytes:
        """Give an image as bytes that the service has not seen: what stands after a picture's end changes nothing."""
        self.salt += 1
        return image.read_bytes() + b"\0" * 8 + self.salt.to_bytes(8, "big")

    def upload(self, model: str, name: str, content: bytes) -> int:
        while True:
            status, body = self.ask("POST", f"/api/images?model={model}&name={quote(name)}", content)
            if status == 202:
                return int(json.loads(body)["images"][0]["id"])
            assert status == 429, body
            time.sleep(0.1)

    def rows(self, model: str) -> list[dict[str, Any]]:
        """Wait until all is scored; list it."""
        queued = f"/api/images?model={model}&state=queued"
        wait_until(lambda: self.get(queued)["total"] == 0, "an empty queue")
        return self.get(f"/api/images?model={model}&limit=500")["rows"]

    def fill(self, model: str, images: list[Path]) -> list[dict[str, Any]]:
        for number, image in enumerate(images):
            self.upload(model, f"{number:02}-{image.name}", self.fresh(image))
        return self.rows(model)


@pytest.fixture(scope="session")
def normals(tmp_path_factory) -> list[Path]:
    return sorted(write_discs(tmp_path_factory.mktemp("new") / "normal", 92, seed=1).iterdir())


@pytest.fixture(scope="session")
def abnormals(tmp_path_factory) -> list[Path]:
    return sorted(write_discs(tmp_path_factory.mktemp("new") / "abnormal", 57, seed=2, lesion=True).iterdir())


@pytest.fixture(scope="session")
def labelled_model(discs) -> AnomalyModel:
    """A model of normals of twenty patients, and of six labelled images."""
    abnormal = sorted((discs / "abnormal").iterdir())
    groups = [number // 2 for number in range(40)]
    kinds = {str(discs / "abnormal"): "bright <square>"}
    model = AnomalyModel(shallow(3))
    return model.fit(discs / "train", abnormal=abnormal[:6], kinds=kinds, groups=groups)


@pytest.fixture(scope="session")
def running(discs, explaining, labelled_model, tmp_path_factory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    first, labelled = (folder / f"{name}.msde" for name in (NAMES[0], LABELLED))
    explaining.save(first)
    labelled_model.save(labelled)
    files = [first, *(shutil.copy(first, folder / f"{name}.msde") for name in NAMES[1:-1]), labelled]
    data = folder / "data"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("msde"), "serve", *files, "--data", data, "--port", str(port)]
    with (folder / "log").open("wb") as log:
        compared = ["--normals", discs / "train", "--abnormal", discs / "abnormal"]
        process = subprocess.Popen([*command, *compared, "--queue", str(QUEUE)], stderr=log)
    try:
        running = Running(port, "", data=data)

        def ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return running.ask("GET", "/readyz")[0] == 200
            except OSError:
                return False

        wait_until(ready, "a service that is ready")
        running.token = (data / "admin-token").read_text().strip()
        with (data / "tokens").open("a") as tokens:
            tokens.write(f"anna reader {hashlib.sha256(READER_TOKEN.encode()).hexdigest()}\n")
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


@pytest.fixture(autouse=True)
def emptied(running) -> Iterator[None]:
    """Leave no images to the next test."""
    yield
    for model in NAMES:
        for row in running.rows(model):
            running.ask("DELETE", f"/api/images/{row['id']}")


# Playwright's loop counts as running in this thread until it ends, and no other test could run one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Visit:
    """A reader at the page, and what the page complained of or asked of others."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ("status of 401",)  # the first question of a page is who it is

    def watch(self, url: str) -> None:
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._check(request.url, url))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _check(self, asked: str, url: str) -> None:
        if not asked.startswith((url, "blob:", "data:")):
            self.complaints.append(asked)

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(allowed in text for allowed in self.allowed)]


Opened = Callable[..., Visit]


@pytest.fixture
def visit(browser, running) -> Iterator[Opened]:
    """Open the page at a model as a reader who signs in; whatever it complains of fails the test."""
    visits = []

    def opened(model: str, token: str | None = None, url: str = running.url, **options: Any) -> Visit:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True, **options)
        context.set_default_timeout(1000 * PATIENCE)
        visit = Visit(context.new_page())
        visit.watch(url)
        visits.append(visit)
        visit.page.goto(f"{url}#model={model}")
        visit.page.fill("#token", running.token if token is None else token)
        visit.page.keyboard.press("Enter")
        if token != "wrong":  # noqa: S105 - no secret
            visit.page.wait_for_selector("#rows tr, #nothing:not([hidden])")
            # Titles grow with what is counted: before that, a click may fall beside what it was meant for.
            visit.page.wait_for_selector("#tally:not(:text('Loading'))")
        return visit

    yield opened
    for visit in visits:
        visit.page.context.close()
        assert visit.unexpected == []
