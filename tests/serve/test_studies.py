"""Studies and patients in the worklist: put together, searched, assigned, shown by an archive's viewer."""

from __future__ import annotations

import hashlib
import logging
from itertools import count

import pytest
from tests.serve.conftest import png, running
from tests.serve.test_identifiers import READ, SECRETS, STATED, stated
from tests.serve.test_patients import model_file

from msde.serve.storage.tables import Image

__all__ = ["model_file"]
SECRET, STUDY, LATER = "anna-reads", STATED["StudyInstanceUID"], "1.2.3.9"
VIEWER = "https://ohif.example/viewer?StudyInstanceUIDs={study}&series={series}"


@pytest.fixture(scope="module", params=[True, False], ids=["identifiers", "pseudonyms"])
def served(request, model_file, tmp_path_factory):
    """Three images of a patient in two studies, one of another patient, and a picture of nobody."""
    folder = tmp_path_factory.mktemp("studies")
    with running(folder, model_file, identifiers=request.param, viewer_url=VIEWER) as served:
        with (folder / "data" / "tokens").open("a") as tokens:
            tokens.writelines(
                f"{name} reader {hashlib.sha256(token.encode()).hexdigest()}\n"
                for name, token in (("anna", SECRET), ("ben", f"{SECRET}2"))
            )
        seed = count(1)
        other = {"PatientID": "PID-5", "PatientName": "Muster^Max", "StudyInstanceUID": "1.2.5", "Modality": "MR"}
        for given in ({}, {}, {"StudyInstanceUID": LATER, "BodyPartExamined": "HAND"}, other):
            served.send(stated(next(seed), **given), f"1.2.826.{next(seed)}.dcm")
        served.send(png(9, lesion=True), "p.png")
        served.wait()
        yield served


def listed(served, query: str = "", **asked) -> list[int]:
    """Give the numbers of lines by GET or, with something to search, by POST."""
    if asked:
        answer = served.client.post("/api/worklist", json={"sort": "arrived", "order": "asc", **asked})
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["rows"]]
    return [row["id"] for row in served.get(f"/api/images?sort=arrived&order=asc&{query}")["rows"]]


def of(served, token: str, method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
    answer = served.client.request(method, path, json=body, headers={"authorization": f"Bearer {token}"})
    return answer.status_code, answer.json()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("modality=MR", [4]),
        ("body_part=HAND", [3]),
        ("study_of=1", [1, 2]),
        ("patient_of=3", [1, 2, 3]),
        ("study_of=5", [5]),
        ("study_of=999", []),
        (f"search={STUDY}", [1, 2]),
        (f"search={STATED['SeriesInstanceUID']}", [1, 2, 3, 4]),
        ("since=2000-01-01", [1, 2, 3, 4, 5]),
        ("until=2000-01-01T00:00:00Z", []),
        ("since=2000-01-01T00:00:00%2B02:00&until=2999-12-31", [1, 2, 3, 4, 5]),
        ("since=0001-01-01T00:00:00%2B14:00&until=9999-12-31T23:59:59-14:00", [1, 2, 3, 4, 5]),
        ("modality=%00", []),
        ("search=Mustermann", []),
        ("group=study", [1, 3, 4, 5]),
        ("group=patient", [1, 4, 5]),
        ("group=patient&limit=1&offset=1", [4]),
        ("group=study&modality=MR", [4]),
    ],
)
def test_images_are_found_by_what_they_are_of(served, query, found):
    assert listed(served, query) == found
    total = served.get(f"/api/images?{query}")["total"]
    assert total == (3 if "limit" in query else len(found))


def test_a_line_of_a_study_counts_its_images_and_one_of_a_patient_has_his_p_value(served):
    studies, patients = (
        served.get(f"/api/images?group={of}&sort=arrived&order=asc")["rows"] for of in ("study", "patient")
    )
    assert [row["together"]["images"] for row in studies] == [2, 1, 1, 1]
    assert [row["together"]["images"] for row in patients] == [3, 1, 1]
    assert patients[0]["together"] | {"flagged": 0} == {"images": 3, "flagged": 0, "waiting": 0, "without_verdict": 3}
    assert patients[0]["patient"] == served.get("/api/images/1")["patient"] is not None
    assert patients[0]["patient"]["p_value"] is not None
    assert patients[1]["patient"] is None
    lowest = served.get("/api/images?group=study")["rows"]
    assert [row["p_value"] for row in lowest] == sorted(row["p_value"] for row in lowest)


def test_an_image_is_found_in_the_line_that_stands_for_it(served):
    for group, places in (("study", [0, 0, 1, 2, 3]), ("patient", [0, 0, 0, 1, 2])):
        asked = {"group": group, "sort": "arrived", "order": "asc"}
        answers = [
            served.client.post("/api/worklist/place", json={**asked, "image": image}).json() for image in range(1, 6)
        ]
        assert [answer["place"] for answer in answers] == places


def test_pseudonyms_stay_the_same_and_are_found(served):
    rows = {row["id"]: row for row in served.get("/api/images")["rows"]}
    first, second, third, other, none = (rows[number]["pseudonyms"] for number in range(1, 6))
    assert first == second
    assert (first["patient"], first["series"]) == (third["patient"], third["series"])
    assert first["study"] != third["study"]
    assert len({first["patient"], first["study"], other["patient"], other["study"]}) == 4
    assert none is None
    assert listed(served, f"search={third['study']}") == listed(served, f"search={third['study'][:6].upper()}") == [3]
    assert served.get("/api/images/1")["pseudonyms"] == first
    assert [rows[number]["body_part"] for number in (1, 3, 5)] == ["CHEST", "HAND", None]


@pytest.mark.slow
def test_who_it_is_is_shown_and_searched_where_that_is_asked_for(served, caplog):
    on = served.service.settings.identifiers
    who = served.get("/api/session")
    assert (who["identifiers"], who["viewer"]) == (on, True)
    shown = {row["id"]: row["identifiers"] for row in served.get("/api/images")["rows"]}
    assert shown[1] == served.get("/api/images/1")["identifiers"] == (vars(READ) if on else None)
    assert shown[5] is None
    words = {
        "mustermann ERIKA": [1, 2, 3],
        "Muster^Max": [4],
        "acc-9 2026-11": [1, 2, 3, 4],
        LATER: [3],
        "p.p": [5],
    }
    for search, found in words.items():
        unnamed = found if search in (LATER, "p.p") else []
        assert listed(served, search=search) == (found if on else unnamed), search
    assert listed(served, search="%' OR 1=1") == listed(served, search=" ") == []
    with caplog.at_level(logging.DEBUG):
        listed(served, search="Mustermann")
        of(served, SECRET, "POST", "/api/worklist", {"search": "Mustermann", "limit": 0})
    said = caplog.text + served.client.get("/metrics").text + served.client.get("/api/audit?limit=500").text
    assert not any(secret.decode() in said for secret in SECRETS)
    looked = [line["detail"].get("images") for line in served.get("/api/audit?action=list&limit=500")["rows"]]
    assert ([1, 2, 3, 4] in looked) == on
    assert "Mustermann" not in served.client.get("/api/verdicts.csv").text


def test_the_viewer_of_the_archive_is_led_to_and_that_is_on_record(served):
    answer = served.client.get("/api/images/3/viewer", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == VIEWER.format(study=LATER, series=STATED["SeriesInstanceUID"])
    assert served.get("/api/audit?action=viewer")["rows"][0]["image"] == 3
    assert "is of no study" in served.get("/api/images/5/viewer", 404)["detail"]
    assert served.get("/api/images/999/viewer", 404)["detail"] == "there is no image 999"


def test_a_reader_takes_a_study_and_gives_it_back(served):
    path = "/api/images/1/assignment"
    assert of(served, SECRET, "PUT", path, {"reader": "anna"}) == (200, {"reader": "anna", "images": 2})
    assert listed(served, "assigned=nobody") == [3, 4, 5]
    assert listed(served, "assigned=others") == [1, 2]  # an admin asks
    status, rows = of(served, SECRET, "GET", "/api/images?assigned=me")
    assert (status, {row["id"]: row["assigned"] for row in rows["rows"]}) == (200, {1: "anna", 2: "anna"})

    other = f"{SECRET}2"
    status, answer = of(served, other, "PUT", path, {"reader": "ben"})
    assert (status, "anna has it" in answer["detail"]) == (409, True)
    assert of(served, other, "PUT", path, {"reader": "ben", "instead_of": "anna"})[0] == 200
    assert of(served, SECRET, "PUT", path, {"reader": "ben"})[0] == 403
    assert of(served, SECRET, "PUT", path, {"reader": None})[0] == 409
    assert of(served, other, "PUT", path, {"reader": None}) == (200, {"reader": None, "images": 2})
    assert of(served, other, "PUT", "/api/images/999/assignment", {"reader": None})[0] == 404
    assert served.client.put("/api/images/5/assignment", json={"reader": "anna"}).json()["images"] == 1
    long = {"reader": "\x01" * 200, "instead_of": "anna"}
    kept = served.client.put("/api/images/5/assignment", json=long).json()["reader"]
    assert len(kept) <= 200
    served.client.put("/api/images/5/assignment", json={"reader": None, "instead_of": kept})
    record = served.get("/api/audit?action=assign&image=1")["rows"][:3]
    assert [(line["user"], line["detail"]["reader"]) for line in record] == [
        ("ben", None),
        ("ben", "ben"),
        ("anna", "anna"),
    ]


def test_what_comes_of_a_study_later_is_its_readers(served):
    assert of(served, SECRET, "PUT", "/api/images/1/assignment", {"reader": "anna"})[0] == 200
    later = served.send(stated(77), "1.2.826.77.dcm")
    served.wait()
    assert listed(served, "assigned=others") == [1, 2, later]
    # Where the images of a study are of two readers, neither loses his.
    assert served.client.delete(f"/api/images/{later}").status_code == 204
    with served.service.database.write() as session:
        session.get_one(Image, 2).assigned = "cleo"
    status, answer = of(served, SECRET, "PUT", "/api/images/1/assignment", {"reader": None})
    assert (status, "cleo has it" in answer["detail"]) == (409, True)
    body = {"reader": None, "instead_of": "cleo"}
    assert of(served, SECRET, "PUT", "/api/images/1/assignment", body) == (200, {"reader": None, "images": 2})


def test_what_a_reader_prefers_is_kept_for_him(served):
    chosen = {"columns": ["often", "assigned"], "group": "study"}
    assert of(served, SECRET, "GET", "/api/preferences") == (200, {"columns": None, "group": None})
    for group in ("patient", "study"):
        assert of(served, SECRET, "PUT", "/api/preferences", {**chosen, "group": group})[0] == 200
    assert of(served, SECRET, "GET", "/api/preferences") == (200, chosen)
    assert of(served, f"{SECRET}2", "GET", "/api/preferences")[1]["columns"] is None
    assert of(served, SECRET, "PUT", "/api/preferences", {"columns": ["name of the patient"]})[0] == 422


def test_modalities_and_body_parts_are_listed(served):
    assert served.get("/api/choices") == {"modalities": ["MR", "OT", "other"], "body_parts": ["CHEST", "HAND"]}
