"""What is queued is scored, whatever the state of the machine was in between."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from tests.images.test_passing import no_files_left
from tests.patience import wait_until
from tests.serve.conftest import png

from msde.serve import health, scoring
from msde.serve.scoring import Scorers
from msde.serve.storage import queue


@pytest.fixture
def claiming(monkeypatch) -> threading.Event:
    """Have nothing taken from the queue before this event is set."""
    event, claim = threading.Event(), queue.claim
    monkeypatch.setattr(queue, "claim", lambda *given: claim(*given) if event.is_set() else [])
    return event


@pytest.mark.slow
def test_no_image_fails_for_want_of_files_and_all_are_scored_afterwards(serve, claiming, monkeypatch, tmp_path):
    monkeypatch.setattr(scoring, "LONGEST", timedelta(seconds=0.2))
    with serve() as served:
        for seed in range(20):
            served.send(png(seed))
        with closing(sqlite3.connect(tmp_path / "data" / "msde.db")) as database:
            count = "SELECT count(*) FROM scores WHERE state = 'queued' AND leased IS NOT NULL"
            assert database.execute(count).fetchone() == (0,)
            with no_files_left():
                claiming.set()
                wait_until(lambda: database.execute(count).fetchone() == (20,), "images that are put off")
        rows = served.wait()
    assert [row["state"] for row in rows] == ["scored"] * 20


def test_nothing_is_scored_at_once_without_files_but_put_off(serve):
    with serve() as served:
        sent = png(1)
        assert served.client.post("/api/score", content=sent).status_code == 200
        with no_files_left():
            answers = [served.client.post(path, content=sent) for path in ("/api/score", "/api/images")]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert served.client.post("/api/images", content=sent).status_code == 202


@pytest.mark.slow
def test_one_idle_thread_looks_for_all_and_all_work_on_what_is_queued(serve, monkeypatch, claiming):
    monkeypatch.setattr(scoring, "POLL", 3600)
    monkeypatch.setattr("msde.serve.service.available_cores", lambda: 2)  # so there are three threads
    at_work, judge = threading.Barrier(3), scoring.judge

    def judge_together(*given):
        at_work.wait(60)
        return judge(*given)

    monkeypatch.setattr(scoring, "judge", judge_together)
    with serve() as served:
        scorers = served.service.scorers
        for seed in range(3 * scoring.BATCH):
            served.send(png(seed))
        wait_until(scorers._looking.locked, "an idle thread")
        assert len(scorers._wake._cond._waiters) <= 1
        claiming.set()
        scorers.wake()
        assert [row["state"] for row in served.wait()] == ["scored"] * 3 * scoring.BATCH


@pytest.fixture
def looking() -> Iterator[None]:
    """Have the service look at its threads more often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "LOOK", 0.1)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("looking")
def test_a_thread_that_ends_is_replaced_and_named(serve, monkeypatch, caplog):
    ended, work = threading.Event(), Scorers._next

    def end(scorers, *given, **further):
        if not ended.is_set():
            ended.set()
            raise SystemExit
        return work(scorers, *given, **further)

    with serve() as served:
        monkeypatch.setattr(Scorers, "_next", end)
        served.service.scorers.wake()
        assert ended.wait(60)
        wait_until(lambda: "a thread ended and was replaced" in caplog.messages, "a new thread")
        served.send(png(1))
        assert [row["state"] for row in served.wait()] == ["scored"]
        served.get("/readyz")
    told = next(record for record in caplog.records if record.message == "a thread ended and was replaced")
    assert told.fields["worker"].startswith("msde-score-")
    assert told.fields["reason"] == "SystemExit"


@pytest.mark.slow
@pytest.mark.usefixtures("looking")
def test_it_is_not_ready_where_a_thread_cannot_be_replaced(serve, monkeypatch):
    start = threading.Thread.start

    def fail(thread):
        if thread.name.startswith("msde-score-"):  # those that answer requests may
            raise RuntimeError("can't start new thread")
        start(thread)

    with serve() as served:
        monkeypatch.setattr(Scorers, "_next", lambda *_, **__: exit())
        monkeypatch.setattr(threading.Thread, "start", fail)
        served.service.scorers.wake()
        wait_until(lambda: served.client.get("/readyz").status_code == 503, "that it is not ready")
        assert served.get("/readyz", 503)["problems"] == ["a thread that scores has ended and cannot be replaced"]
        monkeypatch.undo()
        wait_until(lambda: served.client.get("/readyz").status_code == 200, "that it is ready")
