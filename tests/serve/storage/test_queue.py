"""The queue's promises, on either database: each image is worked on by one worker at a time and stored once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from msde.serve.storage import outbox, queue, tables
from msde.serve.storage.queue import Outcome
from msde.serve.storage.tables import Image, Model, Outgoing, Score, Version, now

GOOD = Outcome(1.5, 0.25, None)


@pytest.fixture
def queued(database):
    """A database with ten queued images, of which the even ones are DICOM."""
    with database.write() as session:
        session.add(Model(id=1, name="m", file_sha256="", version_id=1))
        session.flush()
        session.add(Version(id=1, model_id=1, number=1, sha256="0", origin="file", made_by="", normals=9))
        for n in range(1, 11):
            kind = "DICOM" if n % 2 == 0 else "PNG"
            facts = {"suffix": "", "name": "n", "modality": "CT", "origin": "rest"}
            session.add(Image(id=n, digest=str(n), format=kind, **facts))
        session.flush()
        queue.put(database, session, [(n, 1, 1) for n in range(1, 11)])
    return database


def claim(database, worker, limit=4):
    with database.write() as session:
        return [row.score_id for row in queue.claim(session, worker, limit)]


def finish(database, worker, numbers, outcome=GOOD, destinations=()):
    with database.write() as session:
        return queue.finish(session, worker, dict.fromkeys(numbers, outcome), destinations)


def test_queueing_twice_queues_once(queued):
    with queued.write() as session:
        assert queue.put(queued, session, [(1, 1, 1), (1, 1, 1)]) == 0
        assert queue.depth(session) == 10


def test_the_oldest_go_first_and_nobody_gets_what_another_has(queued):
    first, second = claim(queued, "a"), claim(queued, "b")
    assert (first, second) == ([1, 2, 3, 4], [5, 6, 7, 8])


def test_a_clock_that_was_read_a_moment_ago_takes_nothing_away(queued, monkeypatch):
    """A statement may meet a lease that began after the statement had read the clock."""
    assert claim(queued, "a", 1) == [1]
    earlier = tables.now() - timedelta(seconds=1)
    monkeypatch.setattr(tables, "now", lambda: earlier)
    monkeypatch.setattr(queue, "now", lambda: earlier)
    assert claim(queued, "b", 1) == [2]


def test_many_workers_at_once_share_without_overlap(queued):
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: claim(queued, str(n), 1), range(10)))
    got = [number for numbers in claims for number in numbers]
    assert len(got) == len(set(got))
    assert set(got) <= set(range(1, 11))


def test_a_result_is_stored_once_and_by_its_worker_alone(queued):
    numbers = claim(queued, "a")
    assert finish(queued, "b", numbers) == []
    assert sorted(finish(queued, "a", numbers)) == numbers
    assert finish(queued, "a", numbers, Outcome(9.0, 0.1, None)) == []
    with queued.read() as session:
        assert set(session.scalars(select(Score.anomaly_score).where(Score.id.in_(numbers)))) == {1.5}
        assert queue.depth(session) == 6


def test_what_a_lost_worker_had_is_taken_again_when_its_lease_is_over(queued):
    numbers = claim(queued, "lost")
    with queued.write() as session:
        for score in session.scalars(select(Score).where(Score.id.in_(numbers))):
            score.leased = now() - timedelta(seconds=1)
    assert [claim(queued, f"b{number}")[0] for number in numbers] == numbers
    assert finish(queued, "lost", numbers) == []
    assert [finish(queued, f"b{number}", numbers) for number in numbers] == [[number] for number in numbers]


def test_a_lease_that_is_renewed_holds(queued):
    numbers = claim(queued, "slow")
    with queued.write() as session:
        for score in session.scalars(select(Score).where(Score.id.in_(numbers))):
            score.leased = now() - timedelta(seconds=1)
        session.flush()
        queue.renew(session, "slow", numbers)
    assert set(claim(queued, "b")).isdisjoint(numbers)


def test_only_what_is_at_hand_is_renewed(queued):
    numbers = claim(queued, "slow")
    with queued.write() as session:
        for score in session.scalars(select(Score).where(Score.id.in_(numbers))):
            score.leased = now() - timedelta(seconds=1)
        session.flush()
        queue.renew(session, "slow", numbers[:1])
    assert claim(queued, "b")[0] == numbers[1]


def test_what_a_worker_holds_and_is_not_at_hand_goes_back_at_its_next_claim(queued):
    for _ in range(queue.ATTEMPTS + 1):
        assert claim(queued, "a") == [1, 2, 3, 4], "and that counts as no attempt"
    finish(queued, "a", [1, 2])
    assert claim(queued, "a") == [3, 4, 5, 6]
    assert claim(queued, "b", 10) == [7, 8, 9, 10]


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(hours=-2), timedelta(hours=2), timedelta(days=400)])
def test_nothing_waits_for_a_clock_that_was_put_forward_or_back(queued, jump, monkeypatch):
    """By libfaketime, processes do the same in tests/serve/test_clock.py."""
    assert claim(queued, "dead", 10) == list(range(1, 11))
    for module in (tables, queue):  # `beyond` reads the clock too
        monkeypatch.setattr(module, "now", lambda: now() + jump)
    assert claim(queued, "b", 10) == [1], "begun before, so one by one"
    finish(queued, "b", [1], destinations=["archive"])
    assert len(claim(queued, "c", 1)) == 1
    finish(queued, "c", [2], destinations=["archive"])
    with queued.write() as session:
        (row,) = outbox.due(session)
        outbox.failed(session, row, "away")
    monkeypatch.setattr(outbox, "now", lambda: now() + jump)
    with queued.read() as session:
        assert len(outbox.due(session)) == (abs(jump) > timedelta(0))


def give_back(database, worker=None):
    with database.write() as session:
        return queue.give_back(session, worker)


def test_what_is_given_back_is_queued_again(queued):
    claim(queued, "a")
    claim(queued, "b")
    assert give_back(queued, "a") == 4
    assert claim(queued, "b") == [1, 2, 3, 4]


def test_what_may_have_ended_its_worker_is_taken_alone_and_fails_in_the_end(queued):
    claim(queued, "lost", 2)
    for _ in range(queue.ATTEMPTS - 1):
        give_back(queued)
        assert claim(queued, "lost") == [1]
    give_back(queued)
    assert claim(queued, "b") == [2]
    with queued.read() as session:
        score = session.get_one(Score, 1)
        assert (score.state, score.error, score.worker) == (
            "failed",
            "ended the service five times; look into the file",
            None,
        )
        assert queue.depth(session) == 9
    assert claim(queued, "c") == [3, 4, 5, 6]


def test_what_failed_is_queued_again_when_asked_and_nothing_else_is(queued):
    finish(queued, "a", claim(queued, "a", 2))
    finish(queued, "a", claim(queued, "a", 2), Outcome(float("nan"), float("nan"), "broken"))
    with queued.write() as session:
        assert queue.retry(session, 1) == 2
        score = session.get_one(Score, 3)
        assert (score.state, score.error, score.scored, score.attempts) == ("queued", None, None, 0)
    assert claim(queued, "b", 10) == list(range(3, 11))


def test_results_of_dicom_images_alone_go_to_the_outbox_and_failed_ones_do_not(queued):
    numbers = claim(queued, "a")
    finish(queued, "a", numbers[:3], destinations=["archive"])
    finish(queued, "a", numbers[3:], Outcome(float("nan"), float("nan"), "broken"), ["archive"])
    with queued.read() as session:
        assert list(session.execute(select(Outgoing.score_id, Outgoing.destination))) == [(2, "archive")]


def test_the_outbox_tries_again_later_and_gives_up_at_last(queued):
    finish(queued, "a", claim(queued, "a", 10), destinations=["archive"])
    with queued.write() as session:
        rows = outbox.due(session)
        assert len(rows) == 5
        outbox.sent(session, rows[0])
        outbox.failed(session, rows[1], "refused")
    with queued.read() as session:
        assert len(outbox.due(session)) == 3
    for _ in range(outbox.ATTEMPTS - 1):
        with queued.write() as session:
            outbox.failed(session, rows[1], "refused")
    with queued.read() as session:
        row = session.get_one(Outgoing, rows[1].id)
        assert (row.state, row.attempts, row.error) == ("dead", outbox.ATTEMPTS, "refused")
        assert row.next_try - now() <= outbox.LONGEST_PAUSE
