"""What is told of changes: to whom, how much, and for how long."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import SQLAlchemyError
from tests.patience import PATIENCE
from tests.serve.process import CLIENT, Process

from msde.serve import audit, events
from msde.serve.errors import Busy
from msde.serve.events import Events
from msde.serve.intake.tokens import digest_of_token
from msde.serve.launch import GRACE
from msde.serve.scoring import STOP_WITHIN
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Image, Model, Score, Version

from .conftest import png

ADMIN, READER = "admin", "reader"


def finished(coroutine):
    """Run a coroutine in a thread, because a browser's loop may run in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def told(lines, kind):
    """Read a stream up to an event of a kind, and return what that says."""
    for line in lines:
        if line == f"event: {kind}":
            return json.loads(next(lines).removeprefix("data: "))
    raise AssertionError(f"the stream ended before {kind}")


@pytest.mark.slow
def test_two_processes_tell_what_either_did_until_the_session_or_the_service_ends(disc_model, tmp_path):
    with Process(disc_model, tmp_path / "data", "--workers", "2") as process:
        tokens = process.data / "tokens"
        admin = tokens.read_text()
        tokens.write_text(f"{admin}anna reader {digest_of_token('anna-reads')}\n")
        anna = {"Authorization": "Bearer anna-reads"}
        with ExitStack() as stack:
            opened = [
                stack.enter_context(CLIENT.stream("GET", f"{process.url}/api/events", headers=of, timeout=30))
                for of in (anna, anna, anna, process.headers)
            ]
            streams = [answer.iter_lines() for answer in opened]
            assert opened[0].headers["content-type"].startswith("text/event-stream")
            assert [told(lines, "begin") for lines in streams] == [{}] * 4
            image = process.ask("POST", "/api/images?name=Doe.png", content=png(7)).json()["images"][0]["id"]
            process.rows()
            process.ask("POST", f"/api/images/{image}/verdicts", json={"verdict": "normal", "note": "Doe"})
            for lines in streams:
                found: dict[str, list[str]] = {"kinds": []}
                while "verdicts" not in found["kinds"]:
                    found = told(lines, "change")
                    assert found.keys() == {"kinds", "images"}
                assert image in (found["images"] or [image])
            assert "msde_event_streams 4" in process.ask("GET", "/metrics").text
            tokens.write_text(admin)
            for lines in streams[:3]:
                assert told(lines, "end") == {}
            start = time.monotonic()
            process._process.terminate()
            assert told(streams[3], "end") == {}
            assert process._process.wait(PATIENCE) == 0
            assert time.monotonic() - start < GRACE + STOP_WITHIN
        assert "graceful shutdown exceeded" not in process.log.read_text()


@pytest.fixture
def another(database, url):
    """Give the database as another process has it, with one image in the queue of one model."""
    other = Database(url)
    with other.write() as session:
        model = Model(name="chest", file_sha256="")
        session.add(model)
        session.flush()
        version = Version(model_id=model.id, number=1, sha256="", origin="file", made_by="", normals=1)
        image = Image(digest="a", suffix=".png", name="Müller", format="PNG", modality="other", origin="rest")
        session.add_all([version, image])
        session.flush()
        numbers = {"image_id": image.id, "model_id": model.id, "version_id": version.id}
        session.add(Score(**numbers, shown=True, state="queued"))
    yield other
    other.close()


@pytest.mark.slow
def test_what_another_process_does_is_told(database, another):
    async def listen():
        told = Events(database, 10, lambda n: None)
        async with told.listening("anna") as number:

            async def next_after(number, act, role=READER):
                await asyncio.to_thread(act)
                return await told.after(number, PATIENCE, role)

            def judge():
                with another.write() as session:
                    audit.record(session, "ben", "verdict", 7, verdict="normal", model="chest")
                    audit.record(session, "ben", "view", 8)

            def finish():
                with another.write() as session:
                    session.execute(update(Score).values(state="scored", scored=datetime.now(UTC)))

            def change():
                with another.write() as session:
                    session.execute(update(Model).values(alpha=0.1))

            first = await next_after(number, judge)
            assert (first.kinds, first.images) == (("verdicts",), (7,))
            second = await next_after(first.number, finish)
            assert (second.kinds, second.images) == (("images",), None)
            third = await next_after(second.number, change)
            assert (third.kinds, third.images) == (("models",), None)
            return await told.after(number, 0, READER), third

    together, last = finished(listen())
    assert (together.number, together.kinds) == (last.number, ("images", "models", "verdicts"))


def test_what_is_for_admins_is_told_to_none_but_them(database, another):
    async def listen():
        told = Events(database, 10, lambda n: None)
        async with told.listening("anna") as number:
            with another.write() as session:
                audit.record(session, "root", "learn", model="chest")
            admin = await told.after(number, PATIENCE, ADMIN)
            reader = await told.after(number, PATIENCE, READER)
            return admin.kinds, reader.kinds

    assert finished(listen()) == (("learning",), ())


def test_who_is_far_behind_is_told_that_anything_may_have_changed_and_nothing_is_kept_for_him(database, another):
    async def listen():
        told = Events(database, 10, lambda n: None)
        async with told.listening("anna") as number:
            with another.write() as session:
                for image in range(events._KEPT + 1):
                    audit.record(session, "ben", "upload", image + 1)
            changes = await told.after(number, PATIENCE, READER)
            return changes, len(told._changes)

    changes, kept = finished(listen())
    assert changes.images is None
    assert {"images", "verdicts", "models"} == set(changes.kinds)
    assert kept == events._KEPT


def test_those_who_listen_are_counted_limited_and_let_go(database):
    counted: list[int] = []

    async def listen():
        told = Events(database, events.MOST_OF_ONE + 1, counted.append)
        tasks = []

        async def hold(user):
            async with told.listening(user) as number:
                assert await told.after(number, 60, READER) is None

        for _ in range(events.MOST_OF_ONE):
            told.check_room("anna")
            tasks.append(asyncio.create_task(hold("anna")))
            await asyncio.sleep(0)
        with pytest.raises(Busy, match="too many pages listen"):
            told.check_room("anna")
        with pytest.raises(Busy):  # nor do many who saw room at the same moment get more
            await hold("anna")
        told.check_room("ben")
        tasks.append(asyncio.create_task(hold("ben")))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            told.check_room("cleo")
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        told.check_room("anna")
        told.end()
        await asyncio.wait_for(asyncio.gather(*tasks[1:]), PATIENCE)
        assert told._watching is None

    finished(listen())
    assert max(counted) == events.MOST_OF_ONE + 1
    assert counted[-1] == 0


def test_a_database_that_is_away_ends_nothing(database, another, monkeypatch):
    monkeypatch.setattr(events, "_AGAIN", 0.01)
    look = Events._look
    failures = iter([True, False, True])

    def failing(self, before):
        if next(failures, False):
            raise SQLAlchemyError("away")
        return look(self, before)

    monkeypatch.setattr(Events, "_look", failing)

    async def listen():
        told = Events(database, 10, lambda n: None)
        async with told.listening("anna") as number:
            with another.write() as session:
                session.execute(delete(Score))
            return await told.after(number, PATIENCE, READER)

    assert finished(listen()).kinds == ("images",)
