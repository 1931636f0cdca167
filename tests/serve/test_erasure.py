"""What is removed is gone: from the disk, the database and its journal, open files and memory, in every process."""

from __future__ import annotations

import gzip
import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select, update
from tests.patience import wait_until
from tests.serve.conftest import png
from tests.serve.process import Process
from tests.serve.test_data_folder import run

from msde.cli.main import msde
from msde.images.remembered import Remembering
from msde.serve import erasure
from msde.serve.audit import SERVICE
from msde.serve.erasure import purge
from msde.serve.recent import RecentEmbeddings
from msde.serve.storage.tables import Image, Score, now

NAME = "Confidential^Name"


def packed_volume(seed: int) -> bytes:
    """A NIfTI volume, whose samples are unpacked to disk while they are read."""
    values = np.random.default_rng(seed).normal(size=(40, 40, 8)).astype(np.float32)
    return gzip.compress(nibabel.Nifti1Image(values, np.diag([1, 1, 5, 1])).to_bytes())


def files_with(folder: Path, what: bytes) -> list[Path]:
    """List the files below a folder whose bytes hold something, the journal of the database among them."""
    return [path for path in folder.rglob("*") if path.is_file() and what in path.read_bytes()]


def held_files(pid: int | str = "self") -> set[str]:
    """List the images that a process has open, and the files without a name, of samples, that it has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    mapped = {line.split(maxsplit=5)[5] for line in maps if "/#" in line and line.endswith("(deleted)")}
    opened = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened.add(os.readlink(descriptor))
    return mapped | {name for name in opened if "/images/" in name or "/incoming/" in name}


def kept_files(data: Path) -> list[str]:
    """List what a data folder holds beside what every one holds."""
    parts = ("images", "incoming", "cache")
    return sorted(str(path) for part in parts for path in (data / part).rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("content", [png(1), packed_volume(1)], ids=["image", "volume"])
def test_a_removed_image_leaves_nothing(serve, tmp_path, content):
    before = held_files()
    with serve() as served:
        number = served.send(content, f"{NAME}.png")
        other = served.send(png(2), "other.png")
        served.wait()
        served.get(f"/api/images/{number}")
        for path in ("picture", "samples", "overlay"):
            served.client.get(f"/api/images/{number}/{path}")
        served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "normal", "note": NAME})
        assert files_with(tmp_path / "data", NAME.encode())
        assert len(served.service.models.recent) > 0
        assert served.client.delete(f"/api/images/{number}").status_code == 204
        wait_until(lambda: not files_with(tmp_path / "data", NAME.encode()), "nothing of the name")
        assert held_files() <= before
        assert len(served.service.models.recent) == 0
        assert len(kept_files(tmp_path / "data")) == 1
        assert served.client.get(f"/api/images/{other}/picture").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("content", [png(1), packed_volume(2)], ids=["image", "volume"])
def test_what_is_scored_at_once_leaves_nothing(serve, tmp_path, content):
    before = held_files()
    with serve() as served:
        result = served.client.post(f"/api/score?name={NAME}", content=content).json()
        assert result["anomaly_score"] is not None
        assert held_files() <= before
        assert len(served.service.models.recent) == 0
        assert kept_files(tmp_path / "data") == []
        assert files_with(tmp_path / "data", NAME.encode()) == []


@pytest.mark.slow
def test_removal_in_one_process_is_seen_by_the_others(serve):
    with serve() as served:
        number = served.send(packed_volume(3))
        served.wait()
        before = held_files()
        service = served.service
        assert before
        erasure.remove(service.database, service.store, number, "another process")
        wait_until(lambda: held_files() < before and not len(service.models.recent), "nothing of it to be held")


@pytest.mark.slow
@pytest.mark.parametrize("few", [0, 100])
def test_what_a_look_under_way_remembers_after_all_goes_too(serve, few, monkeypatch):
    monkeypatch.setattr(erasure, "_FEW", few)
    made = Remembering(lambda path: object(), 3)
    with serve() as served:
        number = served.send(png(4))
        served.wait()
        store, forgetting = served.service.store, served.service.forgetting
        [path] = [str(path) for path in store.images.rglob("*.png")]
        first = made(path)
        erasure.remove(served.service.database, store, number, "a")
        forgetting.look()
        second = made(path)  # by somebody who began before it was removed
        assert second is not first
        forgetting.look()
        assert made(path) is not second


def age(served, number: int, days: float) -> None:
    with served.service.database.write() as session:
        session.execute(update(Image).where(Image.id == number).values(arrived=now() - timedelta(days=days)))


@pytest.mark.slow
def test_what_is_kept_long_enough_loses_picture_and_name_and_keeps_scores_and_verdicts(serve, url, tmp_path):
    def rule(served) -> int:
        return purge(served.service.database, served.service.store, timedelta(days=90), SERVICE)

    with serve(database=url) as served:
        old, broken, new = (
            served.send(content, f"{NAME} {n}") for n, content in enumerate((png(1), png(2)[:300], png(3)))
        )
        served.wait()
        served.client.post(f"/api/images/{old}/verdicts", json={"verdict": "abnormal", "note": "left lung"})
        before = served.get(f"/api/images/{old}")
        for number, days in ((old, 91), (broken, 91), (new, 89)):
            age(served, number, days)
        assert (rule(served), rule(served)) == (2, 0)
        after = served.get(f"/api/images/{old}")
        assert (after["name"], after["range"], after["has_overlay"]) == (f"image {old}", None, False)
        assert after["purged"] is not None
        for kept in ("anomaly_score", "p_value", "flagged", "verdict", "verdicts", "history", "digest"):
            assert after.get(kept) == before.get(kept), kept
        for path in ("picture", "samples", "normals"):
            gone = served.get(f"/api/images/{old}/{path}", 404)
            assert "was removed; its scores and verdicts are kept" in gone["detail"]
        error = served.get(f"/api/images/{broken}")["error"]
        assert error.startswith(f"image {broken}: ")
        assert served.client.get(f"/api/images/{new}/picture").status_code == 200
        assert len(kept_files(tmp_path / "data")) == 1
        csv = served.client.get("/api/verdicts.csv").text
        assert NAME not in csv
        assert "left lung" in csv
        assert [row["user"] for row in served.get("/api/audit?action=purge")["rows"]] == [SERVICE] * 2
        assert served.client.post("/api/models/discs/rescore").json() == {"queued": 0}
        assert served.get("/api/models/discs")["confirmed_normals"] == 0
    with serve(database=url) as served:  # nothing is swept, lost or found missing
        assert served.get("/api/images")["total"] == 3


@pytest.mark.slow
def test_what_was_purged_and_comes_again_is_an_image_again(serve, url):
    with serve(database=url) as served:
        number = served.send(png(1), "first")
        served.wait()
        age(served, number, 3)
        assert purge(served.service.database, served.service.store, timedelta(days=2), SERVICE) == 1
        again = served.client.post("/api/images?name=second", content=png(1)).json()["images"][0]
        assert (again["id"], again["known"]) == (number, True)
        row = served.wait()[0]
        assert (row["name"], row["purged"], row["state"]) == ("second", None, "scored")
        assert served.client.get(f"/api/images/{number}/picture").status_code == 200
        assert purge(served.service.database, served.service.store, timedelta(days=2), SERVICE) == 0


def test_what_is_at_work_waits_and_what_was_never_scored_says_so(serve, url):
    with serve(database=url) as served:
        served.service.scorers.stop()
        running, queued = served.send(png(1), NAME), served.send(png(2), NAME)
        with served.service.database.write() as session:
            session.execute(update(Score).where(Score.image_id == running).values(state="running"))
        for number in (running, queued):
            age(served, number, 5)
        assert purge(served.service.database, served.service.store, timedelta(days=4), SERVICE) == 1
        with served.service.database.read() as session:
            states = {row.image_id: row.state for row in session.scalars(select(Score))}
        assert states == {running: "running", queued: "failed"}
        assert served.get(f"/api/images/{queued}")["error"] == (
            f"image {queued}: its picture was removed before it was scored; send it again"
        )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_command_purges_while_the_service_runs(disc_model, tmp_path, workers):
    data = tmp_path / "data"
    with Process(disc_model, data, "--workers", str(workers)) as process:
        for seed in range(6):
            content = packed_volume(seed) if seed % 2 else png(seed)
            assert process.ask("POST", f"/api/images?name={NAME}", content=content).status_code == 202
        process.rows()
        assert run("purge", "--data", data, "--keep", "1d") == "0 pictures removed\n"
        assert len(kept_files(data)) == 6
        assert run("purge", "--data", data, "--keep", "0d").startswith("6 pictures removed")
        assert kept_files(data) == []
        wait_until(lambda: not files_with(data, NAME.encode()), "nothing of the name")
        assert len(process.pids()) >= workers
        wait_until(lambda: not any(map(held_files, process.pids())), "nothing to be held")
        assert {row["state"] for row in process.rows()} == {"scored"}
        process.stop()


@pytest.mark.slow
def test_the_service_keeps_to_its_rule_by_itself(serve):
    with serve() as served:
        old, new = served.send(png(1)), served.send(png(2))
        served.wait()
        age(served, old, 2)
    with serve(keep=86_400) as served:
        wait_until(lambda: served.get(f"/api/images/{old}")["purged"] is not None, "the picture to go")
        assert served.get(f"/api/images/{new}")["purged"] is None


@pytest.mark.parametrize("period", ["90", "d", "-1d", "1.5d", "9w", "0d", "٣d"])
def test_a_period_that_is_none_is_refused(period, tmp_path):
    answer = CliRunner().invoke(msde, ["serve", "a.msde", "--data", str(tmp_path / "data"), "--keep", period])
    assert (answer.exit_code, "--keep" in answer.output) == (2, True)


def test_recent_embeddings_go_by_time_and_by_size(monkeypatch):
    row = np.arange(4, dtype=np.float32)
    recent = RecentEmbeddings(seconds=1000)
    for number in range(3):
        recent.put(bytes([number]), row + number)
    assert np.array_equal(recent.get(b"\1", 4), row + 1)  # type: ignore[arg-type]
    assert recent.get(b"\1", 5) is None
    monkeypatch.setattr("msde.serve.recent._BYTES", 2 * row.nbytes)
    recent.put(b"\3", row)
    assert [recent.get(bytes([number]), 4) is not None for number in range(4)] == [False, False, True, True]
    recent.clear()
    assert len(recent) == 0
    short = RecentEmbeddings(seconds=0)
    short.put(b"\0", row)
    short.expire()
    assert short.get(b"\0", 4) is None
