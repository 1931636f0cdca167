"""From the upload to the reader's verdict, on either database."""

import csv
import io
import json
import time
from threading import Semaphore

import numpy as np
import pytest
from sqlalchemy import func, select, text
from tests.patience import PATIENCE, wait_until
from tests.serve.conftest import png

from msde import AnomalyModel
from msde.errors import MSDEError
from msde.serve import lifecycle
from msde.serve.storage.tables import Score


@pytest.mark.slow
def test_an_image_is_kept_scored_listed_and_judged(serve, url, disc_model, tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    alone = AnomalyModel.load(disc_model).score(tmp_path / "a.png")[0]
    with serve(database=url) as served:
        number = served.send(png(1), "a.png")
        served.send(png(2, lesion=True), "b.png")
        rows = served.wait()
        assert [row["name"] for row in rows] == ["b.png", "a.png"]  # the most abnormal first
        row = rows[1]
        assert (row["id"], row["state"], row["kind"], row["format"]) == (number, "scored", "image", "PNG")
        assert row["anomaly_score"] == pytest.approx(alone.anomaly_score, rel=1e-6)
        assert row["p_value"] == alone.p_value
        assert [row["flagged"] for row in rows] == [True, False]
        given = served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "normal", "note": "clear"})
        assert given.status_code == 201
        assert (given.json()["reader"], given.json()["version"]) == ("admin", 1)
        served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "unsure"})
        case = served.get(f"/api/images/{number}")
        assert [verdict["verdict"] for verdict in case["verdicts"]] == ["unsure", "normal"]
        assert case["verdict"] == "unsure"
        audit = served.get("/api/audit")["rows"]
        assert [(row["action"], row["image"]) for row in audit if row["image"]] == [
            ("view", number),
            ("verdict", number),
            ("verdict", number),
            ("upload", 2),
            ("upload", 1),
        ]


def test_the_same_bytes_are_one_image_scored_once(serve, url):
    with serve(database=url) as served:
        first = served.send(png(1))
        served.wait()
        again = served.client.post("/api/images", content=png(1)).json()["images"][0]
        assert again == {"id": first, "name": "upload", "known": True}
        rows = served.wait()
        assert len(rows) == 1
        history = served.get(f"/api/images/{first}")["history"]
        assert len(history) == 1


@pytest.mark.slow
def test_what_was_queued_is_scored_after_a_restart_and_results_stay(serve, url):
    with serve(database=url, queue=5000) as served:
        sent = {served.send(png(seed)) for seed in range(20)}
    with serve(database=url) as served:
        rows = served.wait()
        assert {row["id"] for row in rows} == sent
        assert {row["state"] for row in rows} == {"scored"}


@pytest.mark.slow
def test_what_is_no_image_is_refused_and_what_is_broken_fails_with_the_reason(serve):
    with serve() as served:
        answer = served.client.post("/api/images?name=notes.txt", content=b"no image at all")
        assert answer.status_code == 415
        assert answer.json()["detail"].startswith("notes.txt: is no image")
        served.send(png(1)[:200], "cut.png")
        row = served.wait()[0]
        assert row["state"] == "failed"
        assert row["error"].startswith("cut.png: damaged")
        assert str(served.service.settings.folder) not in row["error"]


def test_an_image_scored_at_once_leaves_nothing_behind(serve, disc_model):
    with serve() as served:
        result = served.client.post("/api/score?name=x.png", content=png(2, lesion=True)).json()
        assert (result["name"], result["flagged"], result["version"]) == ("x.png", True, 1)
        assert served.get("/api/images")["total"] == 0
        assert [path for path in served.service.store.images.rglob("*") if path.is_file()] == []
        assert list(served.service.store.incoming.iterdir()) == []
        bad = served.client.post("/api/score?name=x.txt", content=b"no image").json()
        assert bad["anomaly_score"] is None
        assert bad["error"].startswith("x.txt: is not an image")


@pytest.mark.slow
def test_a_full_queue_is_said_with_a_time_to_come_back(serve):
    with serve(queue=3) as served:
        served.service.scorers.stop()
        for seed in range(3):
            served.send(png(seed))
        answer = served.client.post("/api/images", content=png(3))
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert served.get("/api/images")["total"] == 3


@pytest.mark.slow
def test_several_models_score_each_image_and_one_can_be_chosen(serve, disc_model, tmp_path):
    other = tmp_path / "other.msde"
    AnomalyModel.load(disc_model).save(other)
    with serve(models=(str(disc_model), str(other))) as served:
        served.send(png(1))
        served.send(png(2), model="other")
        assert len(served.wait("discs")) == 1
        assert len(served.wait("other")) == 2
        assert served.get("/api/images?model=third", 404)["detail"].endswith("there are: discs, other")
        assert [model["name"] for model in served.get("/api/models")["models"]] == ["discs", "other"]


@pytest.mark.slow
def test_a_removed_image_is_gone_but_for_the_audit_log(serve, url):
    with serve(database=url) as served:
        number = served.send(png(1))
        served.wait()
        served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "normal"})
        assert served.client.delete(f"/api/images/{number}").status_code == 204
        served.get(f"/api/images/{number}", 404)
        assert [path for path in served.service.store.images.rglob("*") if path.is_file()] == []
        assert "delete" in [row["action"] for row in served.get(f"/api/audit?image={number}")["rows"]]
        assert served.send(png(1)) != number  # or the log would speak of another image
        assert len(served.wait()) == 1


def test_verdicts_are_exported_and_no_cell_is_a_formula(serve, url):
    with serve(database=url) as served:
        number = served.send(png(1), "=cmd|'/c calc'!A0")
        served.wait()
        served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "abnormal", "note": "+1\nline"})
        served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "unsure", "note": "a\rb"})
        rows = list(csv.DictReader(io.StringIO(served.client.get("/api/verdicts.csv").text, newline="")))
        assert [row["note"] for row in rows] == ["'+1\nline", "a\rb"]
        assert rows[0]["name"] == "'=cmd|'/c calc'!A0"
        assert (rows[0]["verdict"], rows[0]["note"], rows[0]["reader"]) == ("abnormal", "'+1\nline", "admin")
        assert 0 < float(rows[0]["p_value"]) <= 1


@pytest.mark.slow
def test_readiness_and_metrics(serve):
    with serve() as served:
        assert served.get("/livez") == {"status": "live"}
        assert served.get("/readyz") == {"status": "ready"}
        served.send(png(1), "Doe^Jane.png")
        served.send(png(2)[:100], "Doe^John.png")
        served.wait()
        text = served.client.get("/metrics").text
        assert 'msde_images_scored_total{modality="other",outcome="scored"} 1.0' in text
        assert 'msde_images_scored_total{modality="other",outcome="failed"} 1.0' in text
        assert "msde_build_info{" in text
        assert "msde_queue_images 0.0" in text
        assert "Doe" not in text
        served.service.ready.clear()
        served.get("/readyz", 503)


@pytest.mark.slow
def test_the_log_is_json_and_names_nobody(serve, capfd):
    from msde.serve.logs import set_up_logs

    with serve() as served:
        set_up_logs()
        number = served.send(png(1), "Doe^Jane.png")
        served.send(png(1)[:100], "Doe^John.png")
        served.wait()
        served.get(f"/api/images/{number}")
        served.client.get("/api/images?search=Doe")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    routes = {line["route"] for line in lines if line["event"] == "request"}
    assert {"/api/images", "/api/images/{id}"} <= routes
    assert "Doe" not in json.dumps(lines)


@pytest.mark.slow
def test_nearest_normals_are_shown(serve, normals):
    with serve(normals=(str(normals),)) as served:
        number = served.send((normals / "007.png").read_bytes())
        served.wait()
        for _ in range(600):
            normals = served.get(f"/api/images/{number}/normals")["normals"]
            if normals:
                break
        assert len(normals) == 3
        assert 7 not in [normal["number"] for normal in normals]  # itself
        picture = served.client.get(normals[0]["picture"])
        assert picture.headers["content-type"] == "image/png"
        served.get("/api/normals/4000/picture", 404)


@pytest.mark.slow
def test_drift_is_told_when_incoming_images_are_of_another_kind(serve, rng):
    with serve() as served:
        assert not served.get("/api/models/discs/drift")["found"]
        from PIL import Image

        for _ in range(30):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(file, "PNG")
            served.send(file.getvalue())
        served.wait()
        drift = served.get("/api/models/discs/drift")
        assert drift["found"]
        assert drift["images"] == 30


@pytest.mark.slow
def test_images_of_another_database_are_refused_and_not_swept(serve, url, tmp_path):
    with serve(database=url) as served:
        number = served.send(png(1))
        served.wait()
    with pytest.raises(MSDEError, match="its images are not of this database"), serve():
        pass
    with serve(database=url) as served:
        assert served.client.get(f"/api/images/{number}/picture").status_code == 200
    (tmp_path / "data" / "database-id").unlink()  # as an earlier version left the folder
    with pytest.raises(MSDEError, match="its images are not of this database"), serve():
        pass
    with serve(database=url) as served:
        assert served.client.get(f"/api/images/{number}/picture").status_code == 200
    assert (tmp_path / "data" / "database-id").exists()


@pytest.mark.slow
def test_a_folder_without_images_takes_another_database(serve, url):
    with serve(database=url):
        pass
    with serve() as served:
        served.send(png(1))
    with serve() as served:
        assert len(served.wait()) == 1


@pytest.mark.slow
def test_what_failed_can_be_scored_again(serve, url):
    with serve(database=url) as served:
        number = served.send(png(1))
        served.send(png(2))
        served.wait()
        with served.service.database.write() as session:
            for score in session.scalars(select(Score).where(Score.image_id == number)):
                score.state, score.error, score.anomaly_score = "failed", "no memory", None
        assert served.client.post("/api/models/discs/rescore").json() == {"queued": 1}
        rows = served.wait()
        assert [(row["state"], row["error"]) for row in rows] == [("scored", None)] * 2


def test_the_refreshing_thread_outlives_any_error(serve, monkeypatch):
    monkeypatch.setattr(lifecycle, "REFRESH", 0.02)
    tried = Semaphore(0)

    def fail(_):
        tried.release()
        raise RuntimeError

    with serve() as served:
        monkeypatch.setattr(type(served.service.models), "refresh", fail)
        assert all(tried.acquire(timeout=PATIENCE) for _ in range(3))


FULL = "BEFORE UPDATE ON scores WHEN OLD.state = 'running' BEGIN SELECT RAISE(ABORT, 'no room'); END"


@pytest.mark.slow
def test_what_could_neither_be_stored_nor_given_back_is_scored_when_there_is_room_again(serve, caplog):
    """As when a disk is full: leases must not be renewed for ever of what no thread is at work on."""
    with serve() as served:
        with served.service.database.write() as session:
            session.execute(text(f"CREATE TRIGGER full {FULL}"))
        for seed in range(20):
            served.send(png(seed))
        held = select(func.count()).select_from(Score).where(Score.state == "running")

        def found() -> int:
            with served.service.database.read() as session:
                return session.scalar(held) or 0

        wait_until(lambda: "scoring failed" in caplog.text, "a batch that cannot be stored", 0.02)
        assert found()
        with served.service.database.write() as session:
            session.execute(text("DROP TRIGGER full"))
        start = time.monotonic()
        assert {row["state"] for row in served.wait()} == {"scored"}
        assert time.monotonic() - start < 60, "before any lease has run out"
