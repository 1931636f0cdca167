"""Drawing in bounded memory, and beside everything else."""

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image
from tests.patience import PATIENCE, wait_until
from tests.serve.conftest import png

from msde.images import read_pixels
from msde.images.samples import admission
from msde.serve import drawing, pictures
from msde.serve.drawing import Drawing
from msde.serve.errors import Busy

T = TypeVar("T")


@pytest.fixture
def pool():
    made = Drawing(3)
    yield made
    made.stop()


def admit(pixels: int) -> None:
    """Ask for room as a reader does."""
    ask = admission.get()
    assert ask is not None
    ask(pixels)


def result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it in a thread of its own: a browser of other tests may have a loop in this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, asyncio.wait_for(coroutine, PATIENCE)).result()


def drawn(pixels: int, at_work: list[int], most: list[int], go_on: threading.Event) -> None:
    admit(pixels)
    at_work.append(pixels)
    most.append(sum(at_work))
    go_on.wait(PATIENCE)
    at_work.remove(pixels)


@pytest.mark.parametrize(
    ("sizes", "highest"),
    [
        ([10_000_000] * 9, 30_000_000),
        ([16_000_000] * 9, 32_000_000),
        ([100_000_000] * 4, 100_000_000),
        ([100_000_000, 1, 100_000_000, 1], 100_000_000),
    ],
)
def test_no_more_pixels_are_drawn_at_once_than_there_is_room_for(pool, sizes, highest):
    at_work: list[int] = []
    most: list[int] = []
    go_on = threading.Event()

    async def ask() -> None:
        asked = [asyncio.ensure_future(pool.run(lambda n=n: drawn(n, at_work, most, go_on))) for n in sizes]
        while sum(at_work) < highest:
            await asyncio.sleep(0.01)
        go_on.set()
        await asyncio.gather(*asked)

    result_of(ask())
    assert len(most) == len(sizes)
    assert max(most) == highest


def test_a_job_takes_room_once_and_gives_it_back_whatever_becomes_of_it(pool):
    def fail() -> None:
        admit(drawing.ROOM)
        admit(drawing.ROOM)
        raise ValueError

    async def ask() -> None:
        for _ in range(5):
            with pytest.raises(ValueError, match="^$"):
                await pool.run(fail)

    result_of(ask())
    assert admission.get() is None


def test_too_many_are_sent_away_with_a_time_to_come_back(pool):
    go_on = threading.Event()

    async def ask() -> list[object]:
        asked = [asyncio.ensure_future(pool.run(lambda: go_on.wait(PATIENCE))) for _ in range(60)]
        await asyncio.sleep(0.1)
        go_on.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    kinds = Counter(type(answer) for answer in result_of(ask()))
    assert kinds == {bool: 51, Busy: 9}


def test_who_has_waited_for_long_is_sent_away_too(pool, monkeypatch):
    monkeypatch.setattr(drawing, "PATIENCE", 0.0)

    async def ask() -> None:
        with pytest.raises(Busy) as caught:
            await pool.run(lambda: None)
        assert caught.value.retry_after >= 1

    result_of(ask())


@pytest.mark.slow
def test_nothing_else_waits_for_pictures(serve, monkeypatch):
    go_on, draw = threading.Event(), pictures.picture
    at_work = threading.Semaphore(0)

    def slow(*given):
        at_work.release()
        go_on.wait(PATIENCE)
        return draw(*given)

    with serve() as served, ThreadPoolExecutor(60) as clients:
        number = served.send(png(1))
        served.wait()
        monkeypatch.setattr(pictures, "picture", slow)
        asked = [clients.submit(served.client.get, f"/api/images/{number}/picture") for _ in range(60)]
        assert at_work.acquire(timeout=PATIENCE)
        wait_until(lambda: sum(one.done() for one in asked) > 0, "requests that are sent away")
        assert served.get("/livez") == {"status": "live"}
        assert served.get("/readyz") == {"status": "ready"}
        assert served.get("/api/images")["total"] == 1
        assert served.client.post("/api/images", content=png(2)).status_code == 202
        go_on.set()
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)


@pytest.mark.slow
def test_nothing_else_waits_for_a_view_to_be_put_on_record(serve):
    with serve() as served, ThreadPoolExecutor(2) as clients:
        number = served.send(png(1))
        served.wait()
        with served.service.database.write():  # another writes
            asked = clients.submit(served.client.get, f"/api/images/{number}/picture")
            with pytest.raises(TimeoutError):
                asked.result(0.2)
            assert clients.submit(served.client.get, "/livez").result(PATIENCE).status_code == 200
        assert asked.result(PATIENCE).status_code == 200


@pytest.mark.parametrize("shape", [(64, 64), (90, 41, 3)])
def test_what_is_too_large_to_be_shown_is_made_smaller(shape, rng, tmp_path, monkeypatch, explaining):
    path, image = tmp_path / "a.png", Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
    image.save(path)
    whole = pictures.picture(path, explaining.rule, None, None)
    assert whole == pictures.png(read_pixels(path, explaining.rule), None)
    monkeypatch.setattr(pictures, "MOST_SAMPLES", 1000)
    side = 3 if shape == (64, 64) else 2
    assert pictures.picture(path, explaining.rule, None, None) == pictures.png(np.asarray(image.reduce(side)), None)
    for alone in (True, False):
        overlay = Image.open(BytesIO(pictures.overlay(path, explaining, None, alone=alone)))
        assert overlay.size == image.reduce(side).size
