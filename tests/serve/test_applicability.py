"""Several models, each for images of its own kind, and what they say of one image side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.images.medical import dicom_bytes
from tests.pictures import disc

from msde import AnomalyModel
from msde.model.applicability import Applicability
from msde.serve.settings import Settings

from .conftest import png


@pytest.fixture(scope="module")
def chest(plain_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("chest") / "chest.msde"
    known = Applicability.stated(["DX:CHEST"])
    AnomalyModel.of(replace(plain_model.fitted, applies_to=known), plain_model.session).save(path)
    return path


def dicom(rng, **header):
    return dicom_bytes(disc(rng).astype(np.uint16), **header)


@pytest.mark.slow
def test_a_model_says_that_it_is_not_for_an_image_and_others_score_it(serve, disc_model, chest, discs, tmp_path, rng):
    normals = (f"chest={discs / 'train'}",)
    with serve(models=(str(chest), str(disc_model)), normals=normals) as served:
        brain = served.send(dicom(rng, Modality="MR", BodyPartExamined="BRAIN", PatientID="7"), "brain.dcm")
        lung = served.send(dicom(rng, Modality="CR", BodyPartExamined="LUNG", PatientID="7"), "lung.dcm")
        other = served.send(png(1))
        served.wait("discs")
        rows = {row["id"]: row for row in served.wait("chest")}
        assert {number: rows[number]["state"] for number in rows} == {
            brain: "unsuited",
            lung: "scored",
            other: "scored",
        }
        assert rows[brain]["error"] == "not for this model: it is MR of HEAD, and the model is for DX of CHEST"
        assert rows[brain]["p_value"] is rows[brain]["flagged"] is rows[brain]["anomaly_score"] is None
        assert [row["id"] for row in served.get("/api/images?model=chest&state=unsuited")["rows"]] == [brain]
        assert served.get("/api/models/chest/tally")["images"] == 2
        [of_both] = [
            row["together"] for row in served.get("/api/images?model=chest&group=patient")["rows"] if row["id"] == lung
        ]
        assert (of_both["images"], of_both["without_verdict"]) == (2, 1)
        assert served.get("/api/models/discs/tally")["images"] == 3

        case = served.get(f"/api/images/{brain}?model=discs")
        assert [(one["model"], one["state"], one["version"], one["in_use"]) for one in case["opinions"]] == [
            ("chest", "unsuited", 1, 1),
            ("discs", "scored", 1, 1),
        ]
        assert case["opinions"][1]["p_value"] == case["p_value"]
        assert case["opinions"][1]["words"] == case["words"]
        assert 'outcome="unsuited"' in served.client.get("/metrics").text
        refused = served.client.post("/api/score?model=chest", content=dicom(rng, Modality="MR")).json()
        assert refused["error"] == "not for this model: it is MR, and the model is for DX of CHEST"
        assert served.client.post("/api/models/chest/rescore").json() == {"queued": 0}
        assert [model["has_normals"] for model in served.get("/api/models")["models"]][1] is False


def test_the_normals_of_a_model_are_its_own_or_those_of_all():
    given = ("all", "a=of/a", "a=more=of/a", "c=d", "b/a=x")
    settings = Settings(data="", models=("x/a.msde", "b.msde"), normals=given, abnormal=("b=ill",))
    assert settings.normals_of("a") == ("of/a", "more=of/a")
    assert settings.normals_of("b") == ("all", "c=d", "b/a=x")
    assert (settings.abnormal_of("a"), settings.abnormal_of("b")) == ((), ("ill",))
