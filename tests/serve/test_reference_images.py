"""Labelled abnormal images beside an image, and what of the evidence is kept and asked for."""

import csv
import io

import pytest
from PIL import Image
from tests.patience import wait_until
from tests.serve.conftest import png, running

from msde import AnomalyModel

KIND = "bright <square>"


@pytest.fixture(scope="module")
def labelled_file(network, discs, tmp_path_factory):
    path = tmp_path_factory.mktemp("labelled") / "labelled.msde"
    abnormal = sorted((discs / "abnormal").iterdir())
    kinds = {str(abnormal[0].parent): KIND}
    AnomalyModel(network).fit(discs / "train", abnormal=abnormal[:6], kinds=kinds, heatmaps=False).save(path)
    return path


@pytest.fixture(scope="module")
def served(labelled_file, disc_model, discs, tmp_path_factory):
    """A service of a model with labels and of one without, with all there is to compare with."""
    folder = tmp_path_factory.mktemp("service")
    given = {"abnormal": (str(discs / "abnormal"),), "normals": (str(discs / "train"),)}
    with running(folder, labelled_file, models=(str(labelled_file), str(disc_model)), **given) as served:
        wait_until(lambda: served.get("/api/models/labelled")["has_labelled"], "labelled images")
        yield served


def test_the_nearest_labelled_image_is_shown_with_its_kind(served):
    number = served.send(png(50, lesion=True))
    served.wait("labelled")
    (nearest,) = served.get(f"/api/images/{number}/labelled?model=labelled")["labelled"]
    assert nearest["kind"] == KIND
    answer = served.client.get(nearest["picture"])
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (64, 64)
    seen = served.get("/api/audit?action=labelled")["rows"]
    assert [row["detail"] for row in seen] == [{"model": "labelled", "number": nearest["number"]}]
    assert (
        "6" in served.get("/api/labelled/6/picture?model=labelled", status=404)["detail"]
    )  # six of twelve were learnt


def test_a_model_without_labels_has_none(served):
    number = served.send(png(51, lesion=True))
    served.wait("discs")
    assert served.get(f"/api/images/{number}/labelled?model=discs") == {"labelled": []}
    of_models = {model["name"]: model for model in served.get("/api/models")["models"]}
    assert [of_models["discs"][name] for name in ("has_labelled", "labelled")] == [False, None]
    assert of_models["labelled"]["labelled"] == f"6 labelled abnormal images of 6 patients: 6 {KIND}"
    rows = served.get("/api/images?model=discs&evidence=unlike")["rows"]
    assert rows == []


def test_what_spoke_for_a_score_is_kept_filtered_and_exported(served):
    like, unlike = served.send(png(52, lesion=True), "like.png"), served.send(inverted(53), "unlike.png")
    served.wait("labelled")
    said = {row["id"]: row["evidence"] for row in served.get("/api/images?model=labelled&limit=500")["rows"]}
    assert said[like] == f"like the abnormal images you labelled, {KIND}"
    assert said[unlike] == "unlike the normals"
    for word, number, other in (("like", like, unlike), ("unlike", unlike, like)):
        found = {row["id"] for row in served.get(f"/api/images?model=labelled&evidence={word}&limit=500")["rows"]}
        assert number in found
        assert other not in found
    served.get("/api/images?model=labelled&evidence=other", status=422)
    served.client.post(f"/api/images/{like}/verdicts?model=labelled", json={"verdict": "abnormal"})
    lines = csv.DictReader(io.StringIO(served.client.get("/api/verdicts.csv?model=labelled").text))
    (line,) = (line for line in lines if line["image"] == str(like))
    assert line["evidence"] == said[like]
    answer = served.client.post("/api/score?model=labelled", content=png(52, lesion=True))
    assert answer.json()["evidence"] == said[like]


def test_evidence_is_carried_over_when_a_version_is_recalibrated(served):
    ids = [served.send(png(seed), f"{seed}.png") for seed in range(60, 64)]
    served.wait("labelled")
    for number in ids:
        served.client.post(f"/api/images/{number}/verdicts?model=labelled", json={"verdict": "normal"})
    before = served.get(f"/api/images/{ids[0]}?model=labelled")["evidence"]
    answer = served.client.post("/api/models/labelled/recalibrate", json={"alpha": 0.3})
    assert answer.status_code == 201, answer.text
    found = served.get(f"/api/images/{ids[0]}?model=labelled")
    assert (found["version"], found["evidence"]) == (2, before)
    assert answer.json()["has_labelled"]  # its scorer is the same
    served.client.put("/api/models/labelled/version", json={"version": 1})


@pytest.mark.slow
def test_a_version_with_other_labels_shows_none_of_the_former(network, discs, labelled_file, tmp_path):
    path = tmp_path / "m.msde"
    path.write_bytes(labelled_file.read_bytes())
    with running(tmp_path, path, abnormal=(str(discs / "abnormal"),)) as served:
        wait_until(lambda: served.get("/api/models/m")["has_labelled"], "labelled images")
        number = served.send(png(50, lesion=True))
        served.wait()
        AnomalyModel(network).fit(discs / "train", abnormal=discs / "abnormal", heatmaps=False).save(path)
        wait_until(lambda: served.get("/api/models/m")["version"] == 2, "the other version")
        assert not served.get("/api/models/m")["has_labelled"]
        assert served.get(f"/api/images/{number}/labelled") == {"labelled": []}
        served.get("/api/labelled/0/picture", status=404)


def inverted(seed: int) -> bytes:
    """Give a disc, dark on bright: as unlike the normals as it is unlike the labels."""
    with Image.open(io.BytesIO(png(seed))) as image:
        file = io.BytesIO()
        Image.eval(image, lambda value: 255 - value).save(file, "PNG")
        return file.getvalue()
