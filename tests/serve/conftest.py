"""A model, a PostgreSQL and a service between them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.pictures import disc, write_discs
from tests.serve.postgres import Postgres

from msde import AnomalyModel
from msde.serve.app import create_app
from msde.serve.service import Service, prepare
from msde.serve.settings import Settings
from msde.serve.storage.database import Database


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
        until = time.monotonic() + 60
        while self.client.get("/api/images", params={**parameters, "state": "queued"}).json()["total"]:
            assert time.monotonic() < until, "the queue does not get shorter"
            time.sleep(0.02)
        return self.client.get("/api/images", params={**parameters, "limit": "500"}).json()["rows"]


Serve = Callable[..., AbstractContextManager[Served]]


def png(seed: int, *, lesion: bool = False) -> bytes:
    """Draw a disc."""
    file = io.BytesIO()
    Image.fromarray(disc(np.random.default_rng(seed), lesion=lesion)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def discs(tmp_path_factory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs") / "normal", 40)


@pytest.fixture(scope="session")
def disc_model(discs, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "discs.msde"
    AnomalyModel().fit(discs, heatmaps=False).save(path)
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return request.getfixturevalue("postgres").database()


@pytest.fixture
def database(url) -> Iterator[Database]:
    database = Database(url)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def serve(tmp_path, disc_model) -> Serve:
    """Run a service on one data folder."""

    @contextmanager
    def run(**given: Any) -> Iterator[Served]:
        settings = Settings(**{"data": str(tmp_path / "data"), "models": (str(disc_model),), **given})
        lock = prepare(settings)
        app = create_app(settings)
        with lock, TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
            client.headers["authorization"] = f"Bearer {(tmp_path / 'data' / 'admin-token').read_text().strip()}"
            yield Served(client, app.state.service)

    return run
