"""Patients of DICOM images: digests of whom they are of, and what all images of one say together."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import timedelta
from threading import Thread

import numpy as np
import pytest
from sqlalchemy import insert, select, update
from tests.images.medical import ct_slice, dicom_bytes
from tests.pictures import disc
from tests.serve.conftest import running

from msde import AnomalyModel
from msde.images import find_images
from msde.method.patient_score import PatientCalibration
from msde.model.patient_score import PatientScore
from msde.serve import patients
from msde.serve.erasure import purge
from msde.serve.intake.headers import Headers
from msde.serve.models import Current
from msde.serve.patients import say_of_patients
from msde.serve.routes import verdicts
from msde.serve.storage.tables import Image, Model, Score, Version

CURRENT = Current(1, 1, 1, "m", 0.05, 0.05)
CALIBRATION = PatientCalibration(np.linspace(0, 1, 80), np.repeat(np.arange(40), 2), 0.05, "test")


def dicom(seed: int, patient: str, *, lesion: bool = False, study: str = "1.2.3") -> bytes:
    values = disc(np.random.default_rng(seed), lesion=lesion).astype(np.uint16)
    return dicom_bytes(values, PatientID=patient, StudyInstanceUID=study, WindowCenter=128, WindowWidth=256)


@pytest.fixture(scope="module")
def model_file(network, discs, tmp_path_factory):
    """A model of forty images of twenty patients."""
    path = tmp_path_factory.mktemp("patients") / "m.msde"
    AnomalyModel(network).fit(discs / "train", groups=[n // 2 for n in range(40)], heatmaps=False).save(path)
    return path


@pytest.fixture(scope="module")
def served(model_file, tmp_path_factory):
    with running(tmp_path_factory.mktemp("service"), model_file) as served:
        yield served


def together(model_file, folder) -> PatientScore:
    """Score files as `msde score --by patient` does."""
    model = AnomalyModel.load(model_file)
    scores = [score for score in model.score(find_images([folder])) if not score.is_volume]
    return PatientScore.of("A", scores, model.patients_)


def test_images_of_a_patient_have_one_p_value_together(served, model_file, tmp_path):
    contents = [dicom(1, "A"), dicom(2, "A", lesion=True, study="1.2.4")]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.dcm").write_bytes(content)
    ids = [served.send(content, f"{number}.dcm") for number, content in enumerate(contents)]
    alone, picture = served.send(dicom(3, "B")), served.send(b"P5 16 16 255 " + bytes(range(256)), "p.pgm")
    served.wait()
    expected = together(model_file, tmp_path)
    for number in ids:
        found = served.get(f"/api/images/{number}")["patient"]
        assert found["images"] == 2
        assert found["anomaly_score"] == pytest.approx(expected.anomaly_score)
        assert found["p_value"] == pytest.approx(expected.p_value)
        assert found["flagged"] == expected.flagged
        assert found["words"].startswith("Of the 2 images known to be of the patient: ")
        assert "normal patient" in found["words"]
    assert [served.get(f"/api/images/{number}")["patient"] for number in (alone, picture)] == [None, None]

    served.client.post(f"/api/images/{ids[0]}/verdicts", json={"verdict": "unsure"})
    served.client.post(f"/api/images/{alone}/verdicts", json={"verdict": "normal"})
    rows = csv.DictReader(io.StringIO(served.client.get("/api/verdicts.csv").text))
    lines = {int(row["image"]): row for row in rows}
    assert float(lines[ids[0]]["patient_p_value"]) == pytest.approx(expected.p_value)
    assert lines[alone]["patient_p_value"] == lines[ids[0]]["evidence"] == ""


def test_others_can_write_while_an_export_puts_the_patients_together(served, monkeypatch):
    number = served.send(dicom(8, "D"))
    served.wait()
    served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "normal"})
    writes = []

    def say(*arguments):
        writing = Thread(target=served.service.database.can_write)
        writing.start()
        writing.join(timeout=10)
        writes.append(not writing.is_alive())
        return say_of_patients(*arguments)

    monkeypatch.setattr(verdicts, "say_of_patients", say)
    assert f"\n{number}," in served.client.get("/api/verdicts.csv").text
    assert writes == [True]


@pytest.mark.slow
def test_all_slices_of_a_series_count(served, model_file, tmp_path):
    rng = np.random.default_rng(4)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(12):
            values = disc(rng, lesion=number == 3).astype(np.uint16)
            content = ct_slice(values, float(number), "1.2.9", number, PatientID="C", WindowCenter=128, WindowWidth=256)
            (tmp_path / f"{number}.dcm").write_bytes(content)
            archive.writestr(f"{number}.dcm", content)
    (tmp_path / "further.dcm").write_bytes(dicom(5, "C"))
    series = served.send(packed.getvalue(), "series.zip")
    served.send(dicom(5, "C"))
    served.wait()
    found = served.get(f"/api/images/{series}")["patient"]
    expected = together(model_file, tmp_path)
    assert (found["images"], expected.images) == (2, 13)
    assert found["p_value"] == pytest.approx(expected.p_value)
    assert found["anomaly_score"] == pytest.approx(expected.anomaly_score)


@pytest.mark.slow
def test_no_identifier_is_in_the_database_and_a_purge_takes_the_digest(serve, model_file, tmp_path):
    with serve(models=(str(model_file),)) as served:
        ids = [served.send(dicom(seed, "Mustermann-4711"), f"{seed}.dcm") for seed in (1, 2)]
        served.wait()
        database = served.service.database
        with database.read() as session:
            known = session.scalars(select(Image.patient)).all()
        assert len(set(known)) == 1
        assert len(known[0] or "") == 32
        files = list((tmp_path / "data").glob("msde.db*"))
        assert files
        assert not any(b"Mustermann-4711" in path.read_bytes() for path in files)
        assert purge(database, served.service.store, timedelta(0), "test") == 2
        with database.read() as session:
            assert set(session.scalars(select(Image.patient))) == {None}
        assert served.get(f"/api/images/{ids[0]}")["patient"] is None
        served.send(dicom(1, "Mustermann-4711"), "again.dcm")
        with database.read() as session:
            assert known[0] in session.scalars(select(Image.patient)).all()


def test_a_digest_tells_patients_apart_and_nothing_without_the_secret(tmp_path):
    names = {"a": ("A", "1"), "b": ("A", "2"), "c": ("B", "1"), "d": ("", "3"), "e": ("", "3"), "f": ("", "4")}
    paths = {name: tmp_path / f"{name}.dcm" for name in names}
    for seed, (name, (patient, study)) in enumerate(names.items()):
        paths[name].write_bytes(dicom(seed, patient, study=f"1.2.{study}"))
    headers = Headers(b"secret")
    found = {name: headers.facts(path, "").patient for name, path in paths.items()}
    assert found["a"] == found["b"] != found["c"]
    assert found["d"] == found["e"] != found["f"]
    assert len(set(found.values())) == 4
    again, other = (Headers(secret).facts(paths["a"], "").patient for secret in (b"secret", b"another"))
    assert again == found["a"] != other
    (tmp_path / "p.png").write_bytes(b"no image")
    assert [headers.facts(tmp_path / name, "").patient for name in ("p.png", "gone.dcm")] == [None, None]


@pytest.fixture
def entered(database):
    """A database with two images of one patient; gives what changes the second's score, and says what is said."""
    facts = {"suffix": ".dcm", "name": "n", "format": "DICOM", "modality": "CT", "origin": "rest", "patient": "A"}
    fixed = {"model_id": 1, "version_id": 1, "shown": True, "state": "scored", "n_parts": 1, "seen_in_training": False}
    made = {"model_id": 1, "origin": "file", "made_by": "", "normals": 40}
    with database.write() as session:
        session.execute(insert(Model), [{"id": 1, "name": "m", "file_sha256": ""}])
        session.execute(insert(Version), [{"id": n, "number": n, "sha256": str(n), **made} for n in (1, 2)])
        session.execute(insert(Image), [{"id": n, "digest": str(n), **facts} for n in (1, 2)])
        session.execute(insert(Score), [{"image_id": n, "anomaly_score": n / 4, **fixed} for n in (1, 2)])

    def said(**values):
        with database.write() as session:
            session.execute(update(Score).where(Score.image_id == 2).values(**values))
        with database.read() as session:
            return say_of_patients(session, CURRENT, CALIBRATION, ["A", "B"])["A"]

    return said


def test_slices_that_are_kept_are_those_that_count(entered):
    numbers = np.array([0.2, np.nextafter(0.9, 1), 0.1])
    found = entered(part_scores=numbers, n_parts=3)
    assert found.anomaly_score == numbers[1]
    assert found.p_value == CALIBRATION.p_value(np.array([0.25, *numbers]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state": "queued"}, "1 of the patient's 2 images wait for this version's score"),
        ({"version_id": 2}, "1 of the patient's 2 images wait for this version's score"),
        ({"state": "failed", "anomaly_score": None}, "1 of the patient's 2 images cannot be used"),
        ({"n_parts": 3}, "not all slices' scores of the patient's 2 images are kept"),
    ],
)
def test_it_says_why_there_is_no_p_value(entered, values, words):
    found = entered(**values)
    assert words in found.words
    assert (found.p_value, found.flagged) == (None, None)


def test_files_anonymised_alike_are_no_patient(entered, monkeypatch):
    monkeypatch.setattr(patients, "MOST_IMAGES", 1)
    assert "as files anonymised alike do" in entered(n_parts=1).words


def test_without_a_calibration_on_patients_nothing_is_said(entered, database):
    with database.read() as session:
        assert say_of_patients(session, CURRENT, None, ["A"]) == {}
