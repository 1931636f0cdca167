"""A disk that fills up, and one that is full at the start."""

import os
import shutil
import subprocess
from collections import namedtuple
from contextlib import contextmanager

import pytest
from tests.patience import wait_until
from tests.serve.conftest import png
from tests.serve.process import CLIENT, Process

from msde.serve import health
from msde.serve.errors import Full, postponed
from msde.serve.storage.room import Room

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(monkeypatch):
    """Say how much of a disk of 1 GB is free."""

    def holds(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - free, free))

    holds(10**9)
    return holds


@pytest.mark.parametrize(("reserve", "least"), [(10_000_000, 10_000_000), (10**12, 50_000_000), (0, 0)])
def test_the_reserve_is_a_twentieth_of_the_disk_at_most(disk, tmp_path, reserve, least):
    room = Room(tmp_path, reserve)
    disk(least)
    assert room.has()
    assert not room.has(1)
    disk(least + 100)
    room.check(100)
    with pytest.raises(Full):
        room.check(101)


def test_the_ballast_is_given_up_when_the_disk_is_full_and_made_again_after(disk, tmp_path):
    room, ballast = Room(tmp_path, 10**6), tmp_path / "ballast"
    room.keep_ballast()
    assert ballast.stat().st_size == 2_000_000
    room.drop_ballast()
    assert ballast.exists()
    disk(0)
    room.drop_ballast()
    room.keep_ballast()
    assert not ballast.exists()
    disk(10**8)
    room.keep_ballast()
    assert ballast.exists()


@pytest.mark.slow
def test_uploads_are_refused_on_a_full_disk_and_all_else_goes_on(serve, disk, monkeypatch):
    monkeypatch.setattr(health, "LOOK", 0.02)
    with serve() as served:
        number = served.send(png(1))
        served.wait()
        disk(0)
        form = {"files": [("files", ("a.png", png(2)))]}
        answers = [
            served.client.post("/api/images", content=png(2)),
            served.client.post("/api/images", **form),
            served.client.post("/api/score", content=png(2)),
        ]
        assert [answer.status_code for answer in answers] == [507] * 3
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        assert served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "normal"}).status_code == 201
        wait_until(lambda: served.client.get("/readyz").status_code == 503, "that it is not ready")
        assert served.get("/readyz", 503)["problems"] == ["the disk has less room than its reserve"]
        disk(10**9)
        wait_until(lambda: served.client.get("/readyz").status_code == 200, "that it is ready")
        assert served.client.post("/api/images", content=png(2)).status_code == 202


@pytest.mark.slow
def test_an_upload_that_would_take_of_the_reserve_is_refused_by_its_length(serve, disk):
    with serve(reserve=10**6) as served:
        disk(10**6 + 1000)
        assert served.client.post("/api/images", content=bytes(1001)).status_code == 507
        assert served.client.post("/api/images", content=bytes(100)).status_code == 415


def test_errors_of_a_full_disk_are_told_from_others(tmp_path):
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space") as caught:
        full.write(b"x")
    assert postponed(caught.value).status == 507
    assert postponed(MemoryError()).status == 503
    assert postponed(ValueError()) is None


@pytest.mark.slow
def test_readiness_fails_where_the_database_cannot_be_written(serve, monkeypatch):
    monkeypatch.setattr(health, "LOOK", 0.02)
    with serve() as served:
        with served.service.database.engine.connect() as connection:
            connection.exec_driver_sql("ALTER TABLE identity RENAME TO away")
            connection.commit()
        wait_until(lambda: served.client.get("/readyz").status_code == 503, "that it is not ready")
        assert served.get("/readyz", 503)["problems"] == ["the database cannot be written"]
        assert served.get("/livez") == {"status": "live"}


@contextmanager
def small_disk(folder):
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("a disk of its own cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder) -> None:
    with open(folder / "fill", "ab", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_keeps_no_service_from_starting(disc_model, tmp_path):
    with small_disk(tmp_path / "disk") as disk, Process(disc_model, disk / "data") as process:
        process.log = tmp_path / "log"
        for seed in range(3):
            assert process.ask("POST", "/api/images", content=png(seed)).status_code == 202
        fill(disk)
        assert process.ask("POST", "/api/images", content=png(3)).status_code == 507
        process.stop()
        fill(disk)
        process.start(status=503)
        assert "the disk has less room than its reserve" in CLIENT.get(f"{process.url}/readyz").json()["problems"]
        assert process.ask("GET", "/api/images").json()["total"] == 3
        assert process.ask("POST", "/api/images", content=png(3)).status_code == 507
        assert process.ask("POST", "/api/images/1/verdicts", json={"verdict": "normal"}).status_code == 201
        os.unlink(disk / "fill")
        wait_until(lambda: CLIENT.get(f"{process.url}/readyz").status_code == 200, "that it is ready")
        assert process.ask("POST", "/api/images", content=png(3)).status_code == 202
        assert [row["state"] for row in process.rows()] == ["scored"] * 4
