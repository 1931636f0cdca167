"""Versions of a model: hot reload, thresholds, recalibration by confirmed normals, and back."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update
from tests.pictures import write_discs
from tests.serve.conftest import png

from msde import AnomalyModel
from msde.errors import ModelFileError, MSDEError
from msde.serve.storage.tables import Model


@pytest.fixture
def replaceable(disc_model, tmp_path):
    return shutil.copy(disc_model, tmp_path / "replaceable.msde")


@pytest.fixture(scope="module")
def other_model(disc_model, tmp_path_factory):
    """The model, calibrated elsewhere."""
    folder = tmp_path_factory.mktemp("other")
    path = folder / "other.msde"
    AnomalyModel.load(disc_model).calibrate(write_discs(folder / "normals", 25, seed=77)).save(path)
    return path


@pytest.mark.slow
def test_a_changed_file_is_a_new_version_and_a_broken_one_changes_nothing(serve, url, replaceable, other_model):
    with serve(database=url, models=(str(replaceable),)) as served:
        number = served.send(png(1))
        served.wait()
        replaceable.write_bytes(b"no model")
        served.service.models.refresh()
        assert served.get("/api/models/replaceable")["version"] == 1
        shutil.copy(other_model, replaceable)
        served.service.models.refresh()
        model = served.get("/api/models/replaceable")
        assert (model["version"], [version["version"] for version in model["versions"]]) == (2, [1, 2])
        assert served.wait()[0]["version"] == 1  # what it said stays until it is asked again
        assert served.client.post("/api/models/replaceable/rescore").json() == {"queued": 1}
        assert served.wait()[0]["version"] == 2
        assert len(served.get(f"/api/images/{number}")["history"]) == 2
        assert served.client.post("/api/models/replaceable/rescore").json() == {"queued": 0}
    with serve(database=url, models=(str(replaceable),)) as served:
        assert served.get("/api/models/replaceable")["version"] == 2


def test_a_file_that_could_not_be_taken_for_a_moment_is_tried_again(serve, replaceable, other_model, tmp_path):
    with serve(models=(str(replaceable),)) as served:
        folder, away = tmp_path / "data" / "models", tmp_path / "away"
        folder.rename(away)
        folder.write_text("in the way")
        shutil.copy(other_model, replaceable)
        served.service.models.refresh()
        assert served.get("/api/models/replaceable")["version"] == 1
        folder.unlink()
        away.rename(folder)
        served.service.models.refresh()
        assert served.get("/api/models/replaceable")["version"] == 2


def test_a_rate_can_be_set_and_taken_back(serve, url):
    with serve(database=url) as served:
        served.send(png(1))
        served.wait()
        changed = served.client.put("/api/models/discs/threshold", json={"alpha": 0.999}).json()
        assert (changed["alpha"], changed["own_alpha"]) == (0.999, 0.05)
        assert served.wait()[0]["flagged"]
        assert served.get("/api/models/discs/tally")["flagged"] == 1
        assert served.get("/api/models/discs/tally?alpha=0.05")["flagged"] == 0
        back = served.client.put("/api/models/discs/threshold", json={"alpha": None}).json()
        assert back["alpha"] == 0.05
        for bad in ("0", "1", "NaN", "Infinity", '"x"'):
            answer = served.client.put("/api/models/discs/threshold", content='{"alpha": ' + bad + "}")
            assert answer.status_code == 422, bad


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [5e-324, 1e-300, 1e-9, 0.001, 1 - 1e-9, 1 - 2**-53])
def test_a_rate_without_a_rank_is_refused_wherever_one_is_asked_for(serve, alpha):
    with serve() as served:
        path = "/api/models/discs"
        before = served.get(path)
        assert len(before["curve"]) < 999
        assert served.client.put(f"{path}/threshold", json={"alpha": alpha}).status_code == 422
        assert served.client.get(f"{path}/tally", params={"alpha": repr(alpha)}).status_code == 422
        told = served.client.post(f"{path}/recalibrate", json={"alpha": alpha})
        assert told.status_code == (409 if alpha == 0.001 else 422)  # which takes 999 confirmed normals
        assert served.get(path) == before


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [5e-324, 1e-9, 1 - 2**-53, 1.0, -1.0, 3.0])
def test_a_rate_that_an_earlier_version_stored_is_not_asked_of_the_model(serve, alpha):
    with serve() as served:
        served.send(png(1))
        served.wait()
        with served.service.database.write() as session:
            session.execute(update(Model).values(alpha=alpha))
        served.service.models.refresh()
        assert served.get("/api/models/discs")["alpha"] == 0.05
        for path in ("/api/images", "/api/models/discs/tally", "/api/models/discs/drift", "/metrics"):
            assert served.client.get(path).status_code == 200, path
        assert served.client.post("/api/models/discs/recalibrate", json={"alpha": None}).status_code == 409


def test_flags_follow_the_model_itself(serve, disc_model):
    model = AnomalyModel.load(disc_model)
    scores = model.calibration_.scores
    with serve() as served:
        shown = served.get("/api/models/discs")
        assert shown["curve"] == pytest.approx(list(scores))
        assert shown["threshold"] == model.calibration_.threshold
        current = served.service.models.named("discs")
        p_values = model.calibration_.p_values(scores)
        assert np.array_equal(p_values <= current.highest_p, model.calibration_.flagged(scores))


@pytest.mark.slow
def test_confirmed_normals_recalibrate_and_the_version_before_can_come_back(serve, url):
    with serve(database=url) as served:
        numbers = [served.send(png(100 + n)) for n in range(24)]
        odd = served.send(png(500, lesion=True))
        before = {row["id"]: row for row in served.wait()}
        refused = served.client.post("/api/models/discs/recalibrate", json={"alpha": None})
        assert refused.status_code == 409
        assert "at least 19 are needed" in refused.json()["detail"]
        for number in numbers:
            served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "normal"})
        tally = served.get("/api/models/discs/tally")
        assert tally["confirmed_normals"] == 24
        assert tally["interval"][0] <= tally["rate"] <= tally["interval"][1]
        made = served.client.post("/api/models/discs/recalibrate", json={"alpha": 0.1})
        assert made.status_code == 201, made.text
        assert (made.json()["version"], made.json()["normals"], made.json()["alpha"]) == (2, 24, 0.1)
        assert "24 confirmed normals" in made.json()["versions"][1]["origin"]
        after = {row["id"]: row for row in served.wait()}
        assert after.keys() == before.keys()
        assert {row["version"] for row in after.values()} == {2}
        for number, row in after.items():
            assert row["anomaly_score"] == before[number]["anomaly_score"]
        assert after[odd]["p_value"] == pytest.approx(1 / 25)
        ranks = np.arange(2, 26) / 25
        assert sorted(after[number]["p_value"] for number in numbers) == pytest.approx(ranks)
        back = served.client.put("/api/models/discs/version", json={"version": 1}).json()
        assert back["version"] == 1
        assert {row["id"]: row["p_value"] for row in served.wait()} == {n: row["p_value"] for n, row in before.items()}
        assert served.client.put("/api/models/discs/version", json={"version": 9}).status_code == 404
        actions = [row["action"] for row in served.get("/api/audit")["rows"]]
        assert {"recalibrate", "version", "verdict"} <= set(actions)


@pytest.mark.slow
def test_a_version_takes_the_place_of_none_but_the_one_that_was_seen(serve, replaceable, other_model):
    with serve(models=(str(replaceable),)) as served:
        shutil.copy(other_model, replaceable)
        served.service.models.refresh()
        address = "/api/models/replaceable/version"
        for unseen in (1, 9):
            answer = served.client.put(address, json={"version": 1, "instead_of": unseen})
            assert answer.status_code == {1: 409, 9: 404}[unseen], answer.text
            assert served.get("/api/models/replaceable")["version"] == 2
        assert served.client.put(address, json={"version": 1, "instead_of": 2}).json()["version"] == 1
        assert [row["detail"]["version"] for row in served.get("/api/audit?action=version")["rows"]] == [1]


@pytest.mark.slow
def test_normals_that_are_copies_count_once_when_recalibrating(serve):
    with serve() as served:
        for number in range(20):
            image = np.asarray(Image.open(io.BytesIO(png(100 + number // 2))))
            file = io.BytesIO()
            Image.fromarray(image).save(file, ("PNG", "TIFF")[number % 2])
            served.send(file.getvalue())
        for row in served.wait():
            served.client.post(f"/api/images/{row['id']}/verdicts", json={"verdict": "normal"})
        refused = served.client.post("/api/models/discs/recalibrate", json={"alpha": None})
        assert refused.status_code == 409
        assert "10 of the 20 images confirmed as normal can be used" in refused.json()["detail"]
        made = served.client.post("/api/models/discs/recalibrate", json={"alpha": 0.1}).json()
        assert "10 confirmed normals" in made["versions"][1]["origin"]
        assert served.get("/api/audit?action=recalibrate")["rows"][0]["detail"]["normals"] == 10


def test_a_model_that_cannot_be_served_is_said_at_the_start(serve, network, tmp_path, normals):
    with pytest.raises(ModelFileError, match="no such file"), serve(models=(str(tmp_path / "none.msde"),)):
        pass
    from msde import MSDEDetector

    batchwise = tmp_path / "batchwise.msde"
    AnomalyModel(network, detector=MSDEDetector("transductive")).fit(normals, heatmaps=False).save(batchwise)
    with pytest.raises(MSDEError, match="transductive"), serve(models=(str(batchwise),)):
        pass
