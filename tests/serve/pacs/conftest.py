"""A model, radiographs, an Orthanc, and the service between them."""

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
from pydicom.uid import generate_uid
from sqlalchemy import func, select
from tests.dicom.sources import radiograph
from tests.serve.pacs.orthanc import Orthanc

from msde import AnomalyModel
from msde.backbones import Backbone
from msde.serve.app import create_app
from msde.serve.lifecycle import prepare
from msde.serve.service import Service
from msde.serve.settings import Settings

PATIENT = "Confidential^Name"


@dataclass
class Served:
    """A service that runs."""

    client: TestClient
    service: Service

    @property
    def token(self) -> str:
        return (self.service.settings.folder / "admin-token").read_text().strip()

    def get(self, path: str) -> dict:
        answer = self.client.get(path, headers={"Authorization": f"Bearer {self.token}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, headers: dict[str, str] | None = None, **further: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        return self.client.post(path, headers=headers, **further)


@pytest.fixture(scope="session")
def model_file(network: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "chest.msde"
    AnomalyModel(network).fit(np.random.default_rng(5).uniform(size=(12, 64, 64))).save(path)
    return path


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    with Orthanc(tmp_path / "orthanc") as server:
        yield server


@pytest.fixture
def serving(tmp_path: Path, model_file: Path) -> Callable[[str], AbstractContextManager[Served]]:
    """Run the service with a PACS file of the given content, on one data folder."""

    @contextmanager
    def run(toml: str = "", **further: Any) -> Iterator[Served]:
        pacs = tmp_path / "pacs.toml"
        pacs.write_text(toml)
        settings = Settings(data=str(tmp_path / "data"), models=(str(model_file),), pacs=str(pacs), **further)
        lock = prepare(settings)
        app = create_app(settings)
        service: Service = app.state.service
        with lock, TestClient(app, base_url="http://127.0.0.1") as client:
            yield Served(client, service)

    return run


def n_rows(served: Served, table: Any, *where: Any) -> int:
    with served.service.database.read() as session:
        return session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def radiographs(n: int, series: str = "one") -> list[bytes]:
    """Give images of one series, each with pixels and a UID of its own."""
    files = []
    for number in range(n):
        image = radiograph()
        image.StudyDate, image.PatientName, image.PatientID = time.strftime("%Y%m%d"), PATIENT, "P-17"
        image.StudyInstanceUID = generate_uid(entropy_srcs=["msde pacs", "study", series])
        image.SeriesInstanceUID = generate_uid(entropy_srcs=["msde pacs", "series", series])
        image.SOPInstanceUID = generate_uid(entropy_srcs=["msde pacs", series, str(number)])
        image.InstanceNumber = number + 1
        image.PixelData = np.random.default_rng(number).integers(0, 255, (48, 64), np.uint8).tobytes()
        file = io.BytesIO()
        image.save_as(file, enforce_file_format=True)
        files.append(file.getvalue())
    return files
