"""Learning from verdicts: a proposal with what it would change, made current, and back."""

import shutil
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from threading import Event, current_thread

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from tests.patience import PATIENCE, wait_until
from tests.serve.conftest import png, running

from msde.model.retraining import gather
from msde.serve import learning
from msde.serve.storage.tables import Proposal, now

ROUTE = "/api/models/discs/learn"


@pytest.fixture
def serve(tmp_path, disc_model, normals):
    """Run a service that has the normals of its model."""
    return partial(running, tmp_path, disc_model, normals=(str(normals),))


def judge(served, number, word):
    assert served.client.post(f"/api/images/{number}/verdicts", json={"verdict": word}).status_code == 201


def fill(served, n_normal=3, n_abnormal=3):
    """Send images and give verdicts on them; return the numbers of normal and abnormal ones."""
    normals = [served.send(png(100 + n), f"normal-{n}.png") for n in range(n_normal)]
    abnormals = [served.send(png(500 + n, lesion=True), f"abnormal-{n}.png") for n in range(n_abnormal)]
    served.wait()
    for number in normals:
        judge(served, number, "normal")
    for number in abnormals:
        judge(served, number, "abnormal")
    return normals, abnormals


def learnt(served):
    """Learn, and wait for the proposal."""
    answer = served.client.post(ROUTE)
    assert answer.status_code == 202, answer.text
    wait_until(lambda: served.get(ROUTE)["proposal"]["state"] != "running", "a proposal", 0.05)
    return served.get(ROUTE)["proposal"]


@pytest.mark.slow
def test_three_verdicts_become_a_version_that_is_used_when_an_admin_says_so(serve, url):
    with serve(database=url) as served:
        normals, abnormals = fill(served, 1, 2)
        other = served.send(png(900, lesion=True))
        served.wait()
        proposal = learnt(served)
        assert (proposal["state"], proposal["before"], proposal["version"]) == ("ready", 1, 2)
        figures = proposal["comparison"]
        assert (figures["n_normal"], figures["n_abnormal"], figures["n_patients"]) == (1, 2, 3)
        assert figures["old"]["roc"][0] == [0, 0]
        assert figures["new"]["roc"][-1] == [1, 1]
        assert any("are few" in note for note in figures["notes"])
        model = served.get("/api/models/discs")
        assert model["version"] == 1
        assert model["versions"][1]["origin"] == "learnt from version 1 and 2 abnormal and 1 normal images by verdicts"

        assert served.client.put("/api/models/discs/version", json={"version": 2}).json()["mode"] == "labelled"
        assert served.client.post("/api/models/discs/rescore").json() == {"queued": 4}
        rows = {row["id"]: row for row in served.wait()}
        assert {row["version"] for row in rows.values()} == {2}
        assert {number for number, row in rows.items() if row["seen_in_training"]} == {*normals, *abnormals}
        assert rows[other]["flagged"]
        tally = served.get("/api/models/discs/tally")
        assert (tally["confirmed_normals"], tally["confirmed_abnormals"], tally["images"]) == (0, 0, 4)

        assert served.client.put("/api/models/discs/version", json={"version": 1}).json()["version"] == 1
        assert {row["version"] for row in served.wait()} == {1}
        actions = [row["action"] for row in served.get("/api/audit?limit=500")["rows"]]
        assert [action for action in reversed(actions) if action in ("learn", "learnt", "version")] == [
            *("learn", "learnt", "version", "version"),
        ]
        detail = served.get("/api/audit?action=learnt")["rows"][0]["detail"]
        assert detail == {"model": "discs", "version": 2}


@pytest.mark.slow
def test_images_that_change_sides_are_named_as_long_as_they_are_there(serve):
    with serve() as served:
        _, abnormals = fill(served)
        proposal = learnt(served)
        with served.service.database.write() as session:
            row = session.scalars(select(Proposal)).one()
            assert "abnormal-0" not in str(row.figures)
            change = {
                "image": abnormals[0],
                "abnormal": True,
                "old_p_value": 0.5,
                "new_p_value": 0.1,
                "now_flagged": True,
            }
            gone = {**change, "image": 999}
            session.execute(update(Proposal).values(figures={**(row.figures or {}), "changed": [change, gone]}))
        changed = served.get(ROUTE)["proposal"]["comparison"]["changed"]
        assert [(one["image"], one["name"]) for one in changed] == [(abnormals[0], "abnormal-0.png")]
        assert proposal["error"] is None


@pytest.mark.slow
def test_what_readers_contradict_each_other_about_is_left_out_and_named(serve, tmp_path):
    with serve() as served:
        normals, _ = fill(served)
        current = served.service.models.named("discs")
        with served.service.database.write() as session:
            from msde.serve.storage.tables import Verdict

            session.add(Verdict(image_id=normals[0], verdict="abnormal", note="", reader="ben"))
        known = served.get(ROUTE)
        assert (known["confirmed_normals"], known["confirmed_abnormals"], known["lacks"]) == (2, 3, None)
        assert known["contradicted"] == [{"image": normals[0], "name": "normal-0.png"}]
        comparison = learnt(served)["comparison"]
        assert comparison["n_normal"] == 2
        assert comparison["contradicted"] == known["contradicted"]
        with served.service.database.read() as session:
            assert len(learning.Judged.of(session, current).others(session, current)) == 1


@pytest.mark.slow
def test_a_version_learns_on_from_the_one_before(serve):
    with serve() as served:
        fill(served)
        learnt(served)
        served.client.put("/api/models/discs/version", json={"version": 2})
        served.client.post("/api/models/discs/rescore")
        served.wait()
        further = served.send(png(700, lesion=True))
        served.wait()
        judge(served, further, "abnormal")
        proposal = learnt(served)
        assert (proposal["before"], proposal["version"]) == (2, 3)
        assert proposal["comparison"]["n_abnormal"] == 4
        assert not any("forgotten" in note for note in proposal["comparison"]["notes"])


@pytest.mark.slow
def test_too_few_verdicts_and_normals_that_are_not_there_are_said(serve, disc_model, tmp_path, discs):
    with serve() as served:
        fill(served, 1, 1)
        refused = served.client.post(ROUTE)
        assert refused.status_code == 409
        assert (
            "at least two images called abnormal, of different patients, and one called normal"
            in refused.json()["detail"]
        )
        assert served.get(ROUTE)["lacks"] == refused.json()["detail"]
        assert served.get(ROUTE)["proposal"] is None
    for normals, said in (((), "start it with --normals FOLDER"), ((str(discs / "normal"),), "0 of the 12 normals")):
        folder = tmp_path / str(len(normals))
        folder.mkdir()
        with running(folder, disc_model, normals=normals) as served:
            fill(served)
            if normals:
                proposal = learnt(served)
                assert (proposal["state"], proposal["version"]) == ("failed", None)
                assert said in proposal["error"]
                assert served.get("/api/audit?action=learnt")["rows"][0]["detail"]["version"] is None
            else:
                assert said in served.client.post(ROUTE).json()["detail"]
            assert [one["version"] for one in served.get("/api/models/discs")["versions"]] == [1]


@pytest.mark.slow
def test_an_abnormal_image_among_the_normals_is_called_by_its_number(serve, normals):
    with serve() as served:
        fill(served)
        number = served.send((normals / "003.png").read_bytes())
        served.wait()
        judge(served, number, "abnormal")
        proposal = learnt(served)
        assert proposal["state"] == "failed"
        assert f"among the normals: image {number} is " in proposal["error"]


@pytest.mark.slow
def test_normals_are_called_by_their_numbers(serve, normals, tmp_path):
    folder = tmp_path / "4711"
    shutil.copytree(normals, folder)
    (folder / "003.png").write_bytes(b"no picture")
    with serve(normals=(str(folder),)) as served:
        fill(served)
        (note,) = [one for one in learnt(served)["comparison"]["notes"] if "cannot be learnt from" in one.lower()]
        assert "normal 4: " in note
        assert "4711" not in note


@pytest.mark.slow
def test_a_database_away_for_a_moment_ends_no_learning(serve, monkeypatch):
    """Neither a sign of life nor the outcome, which is stored whole or not at all, is lost with the first try."""
    monkeypatch.setattr(learning, "_OFTEN", timedelta(seconds=0.1))
    with serve() as served:
        fill(served)
        write = served.service.database.write
        versions: list[int] = []

        @contextmanager
        def writing():
            name = current_thread().name
            try:
                with write() as session:
                    yield session
                    if name == "msde-learn-progress" or (name == "msde-learn" and len(versions) < 2):
                        raise OperationalError("", None, Exception())
            finally:
                if name == "msde-learn":
                    versions.append(len(served.get("/api/models/discs")["versions"]))

        monkeypatch.setattr(served.service.database, "write", writing)
        proposal = learnt(served)
        assert (proposal["state"], proposal["version"]) == ("ready", 2)
        wait_until(lambda: versions == [1, 1, 2], "the third try", 0.05)


@pytest.mark.slow
def test_a_long_fit_gives_signs_of_life(serve, monkeypatch):
    monkeypatch.setattr(learning, "_OFTEN", timedelta(seconds=0.1))
    begun, enough = Event(), Event()

    def slowly(*given, **named):
        begun.set()
        enough.wait(PATIENCE)
        return gather(*given, **named)

    monkeypatch.setattr(learning, "gather", slowly)
    with serve() as served:
        fill(served)
        assert served.client.post(ROUTE).status_code == 202
        assert begun.wait(PATIENCE)
        with served.service.database.write() as session:  # as if none had come for long
            session.execute(update(Proposal).values(sign=now() - 2 * learning.SILENT))
        wait_until(lambda: served.get(ROUTE)["proposal"]["state"] == "running", "a sign of life", 0.05)
        enough.set()
        wait_until(lambda: served.get(ROUTE)["proposal"]["state"] == "ready", "a proposal", 0.05)


@pytest.mark.slow
def test_one_at_a_time_and_what_died_gives_way(serve):
    with serve() as served:
        fill(served)
        current = served.service.models.named("discs")
        with served.service.database.write() as session:
            kept = {"model_id": current.model_id, "before_id": current.version_id, "made_by": "admin"}
            session.add(Proposal(**kept, state="running"))
        refused = served.client.post(ROUTE)
        assert refused.status_code == 409
        assert "learns from verdicts already" in refused.json()["detail"]
        with served.service.database.write() as session:
            session.execute(update(Proposal).values(sign=now() - 2 * learning.SILENT))
        assert served.get(ROUTE)["proposal"]["state"] == "failed"
        assert served.get(ROUTE)["proposal"]["error"] == learning.ENDED
        assert learnt(served)["state"] == "ready"


@pytest.mark.slow
def test_a_start_gives_up_what_was_under_way(serve):
    with serve() as served:
        current = served.service.models.named("discs")
        with served.service.database.write() as session:
            kept = {"model_id": current.model_id, "before_id": current.version_id, "made_by": "admin"}
            session.add(Proposal(**kept, state="running"))
    with serve() as served:
        assert served.get(ROUTE)["proposal"]["error"] == learning.ENDED


@pytest.mark.slow
def test_a_service_that_stops_breaks_it_off(serve):
    with serve() as served:
        fill(served)
        served.service.stopping.set()
        proposal = learnt(served)
        assert (proposal["state"], proposal["error"]) == ("failed", learning.ENDED)


def test_readers_may_neither_look_nor_learn(serve, tmp_path):
    import hashlib

    with serve() as served:
        line = f"anna reader {hashlib.sha256(b'anna-reads').hexdigest()}\n"
        with (tmp_path / "data" / "tokens").open("a") as tokens:
            tokens.write(line)
        served.client.headers["authorization"] = "Bearer anna-reads"
        assert served.client.get(ROUTE).status_code == 403
        assert served.client.post(ROUTE).status_code == 403
