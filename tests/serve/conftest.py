"""A model, a PostgreSQL and a service between them."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.patience import wait_until
from tests.pictures import disc
from tests.serve.postgres import Postgres

from msde.serve.app import create_app
from msde.serve.lifecycle import prepare
from msde.serve.service import Service
from msde.serve.settings import Settings
from msde.serve.storage.database import _PRAGMAS, Database


@dataclass
class Served:
    """A service that runs, and an admin's client of it."""

    client: TestClient
    service: Service

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    def send(self, content: bytes, name: str = "image.png", **parameters: str) -> int:
        """Upload one image and return its number."""
        answer = self.client.post("/api/images", params={"name": name, **parameters}, content=content)
        assert answer.status_code == 202, answer.text
        return answer.json()["images"][0]["id"]

    def wait(self, model: str | None = None) -> list[dict[str, Any]]:
        """Wait until nothing is queued and return the rows."""
        parameters = {"model": model} if model else {}
        queued = {**parameters, "state": "queued"}
        wait_until(lambda: self.client.get("/api/images", params=queued).json()["total"] == 0, "an empty queue", 0.02)
        return self.client.get("/api/images", params={**parameters, "limit": "500"}).json()["rows"]


Serve = Callable[..., AbstractContextManager[Served]]


def png(seed: int, *, lesion: bool = False) -> bytes:
    """Draw a disc."""
    file = io.BytesIO()
    Image.fromarray(disc(np.random.default_rng(seed), lesion=lesion)).save(file, "PNG")
    return file.getvalue()


# Quick runs try what is the default.
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


def empty_database(request: pytest.FixtureRequest, folder: Path) -> str:
    """Give the URL of an empty database of the kind that a fixture is asked for."""
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'test.db'}"
    return request.getfixturevalue("postgres").database()


@contextmanager
def running(folder: Path, model: Path, **given: Any) -> Iterator[Served]:
    """Run a service with its data in a folder."""
    settings = Settings(**{"data": str(folder / "data"), "models": (str(model),), **given})
    lock = prepare(settings)
    app = create_app(settings)
    with lock, TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        client.headers["authorization"] = f"Bearer {(folder / 'data' / 'admin-token').read_text().strip()}"
        yield Served(client, app.state.service)


@pytest.fixture(scope="session", autouse=True)
def unsynced_databases() -> Iterator[None]:
    """Wait for no disk at each transaction either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("msde.serve.storage.database._PRAGMAS", (*_PRAGMAS, "synchronous=OFF"))
        yield


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Take away the log of a service that ran in this process: its standard error may have ended with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def normals(discs) -> Path:
    return discs / "train"


@pytest.fixture(scope="session")
def disc_model(plain_model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "discs.msde"
    plain_model.save(path)
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(params=DATABASES)
def url(request, tmp_path) -> str:
    return empty_database(request, tmp_path)


@pytest.fixture
def database(url) -> Iterator[Database]:
    database = Database(url)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def serve(tmp_path, disc_model) -> Serve:
    """Run a service on one data folder."""
    return partial(running, tmp_path, disc_model)


@pytest.fixture(scope="module")
def standing(disc_model, tmp_path_factory) -> Iterator[Served]:
    """Share a service among the tests of a file which ask for answers that no other's images change."""
    with running(tmp_path_factory.mktemp("standing"), disc_model) as served:
        yield served
