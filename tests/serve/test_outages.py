"""What a service lives through: a clock that jumps, a database away, a full disk, an archive away for hours."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.patience import wait_until
from tests.requirements import need
from tests.serve.clock import Clock
from tests.serve.conftest import png
from tests.serve.pacs.conftest import radiographs
from tests.serve.pacs.orthanc import Orthanc
from tests.serve.pacs.test_multipart import KIND, encoded
from tests.serve.postgres import Postgres
from tests.serve.process import Process

pytestmark = pytest.mark.slow
HOUR = 3600


def send(process: Process, seeds: range) -> list[int]:
    """Send images, each until it is taken; return the states of what was not."""
    refused = []
    for seed in seeds:
        while (answer := process.ask("POST", "/api/images", content=png(seed))).status_code != 202:
            refused.append(answer.status_code)
            time.sleep(0.2)
    return refused


def states(rows: list[dict[str, Any]]) -> list[str]:
    return [row["state"] for row in rows]


def test_nothing_hangs_when_the_clock_is_put_forward_or_back(disc_model: Path, tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    with Process(disc_model, tmp_path / "data", environment=clock.environment) as process:
        n = 0
        for hours in (-400 * 24, 2, -3, 400 * 24, 0):
            assert send(process, range(n, n + 4)) == []
            clock.put(hours * HOUR)  # while they are scored
            assert send(process, range(n + 4, n + 6)) == []
            n += 6
            assert states(process.rows()) == ["scored"] * n
        process.kill()
        clock.put(-5 * HOUR)
        process.start()
        assert send(process, range(n, n + 2)) == []
        assert states(process.rows()) == ["scored"] * (n + 2)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


def test_a_database_that_is_away_refuses_uploads_and_loses_nothing(
    disc_model: Path, tmp_path: Path, own_postgres: Postgres
) -> None:
    with Process(disc_model, tmp_path / "data", "--database", own_postgres.database()) as process:
        assert send(process, range(12)) == []
        own_postgres.kill()  # while they are scored
        for path, status in (("/livez", 200), ("/api/images", 503)):
            assert process.ask("GET", path).status_code == status
        assert process.ask("POST", "/api/images", content=png(20)).status_code == 503
        wait_until(lambda: process.ask("GET", "/readyz").status_code == 503, "readiness tells of it")
        own_postgres.start()
        send(process, range(20, 22))
        assert states(process.rows()) == ["scored"] * 14
        assert len({row["id"] for row in process.rows()}) == 14
        wait_until(lambda: process.ask("GET", "/readyz").status_code == 200, "readiness")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    need("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_was_full_and_has_room_again_leaves_nothing_behind(disc_model: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"
    with Process(disc_model, small_disk / "data") as process:
        assert send(process, range(20)) == []
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(50_000)):
                pass
        assert process.ask("POST", "/api/images", content=png(30)).status_code in (503, 507)
        time.sleep(5)
        filler.unlink()
        start = time.monotonic()
        assert states(process.rows()) == ["scored"] * 20
        assert time.monotonic() - start < 60, "no lease has to run out"
        send(process, range(20, 22))
        assert states(process.rows()) == ["scored"] * 22


def test_results_wait_hours_for_an_archive_and_are_sent_once(
    disc_model: Path, tmp_path: Path, orthanc: Orthanc
) -> None:
    clock = Clock(tmp_path / "clock")
    pacs = tmp_path / "pacs.toml"
    pacs.write_text(f'[stow]\n[[pacs]]\nname = "a"\nurl = "{orthanc.url}"\ntimeout = 3\n')
    with Process(disc_model, tmp_path / "data", "--pacs", str(pacs), environment=clock.environment) as process:

        def outbox() -> dict[str, int]:
            return process.ask("GET", "/api/pacs").json()["outbox"].get("a", {})

        def told() -> bool:
            return any(link["error"] for link in process.ask("GET", "/api/pacs").json()["links"])

        orthanc.kill()
        for hours, number in enumerate(range(6)):
            body = encoded(radiographs(1, series=str(number)))
            kind = {"Content-Type": KIND}
            assert process.ask("POST", "/dicomweb/studies", content=body, headers=kind).status_code == 200
            wait_until(lambda: outbox() == {"waiting": number + 1}, "another result waits")  # noqa: B023
            clock.put((hours + 1) * HOUR)
            process.ask("POST", "/api/pacs/retry")
            wait_until(told, "the link tells of it")
        clock.put(-24 * HOUR)  # and is mended in the end
        orthanc.start()
        process.ask("POST", "/api/pacs/retry")
        wait_until(lambda: outbox() == {"sent": 6}, "all results are sent")
    assert sum(one["modality"] == "SR" for one in orthanc.instances()) == 6


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    with Orthanc(tmp_path / "orthanc") as server:
        yield server
