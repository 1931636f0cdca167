"""DICOM objects, identifiers and what must not leave, by the command line as a user runs it."""

from __future__ import annotations

import csv
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pyarrow import parquet
from tests.command import MSDE, SMALL, started
from tests.command import msde as run
from tests.dicom.validator import errors
from tests.images.medical import ct_slice, dicom_bytes
from tests.pictures import disc

from msde import AnomalyModel
from msde.method.volume_score import highest_parts

pytestmark = pytest.mark.slow  # whole jobs

SECRETS = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19640812",
    "StudyDate": "20240131",
    "StudyTime": "131415",
    "AccessionNumber": "ACC-0815",
    "ReferringPhysicianName": "Weissnix^Otto",
    "InstitutionName": "Klinik Hinterwald",
    "StudyDescription": "Verdacht auf Schnupfen",
    "OtherPatientIDs": "ID-4712",
    "PatientComments": "mag Hunde",
}
STUDY = "1.2.826.0.1.3680043.8.498.4711"
RADIOGRAPH, SERIES, FRAMES = (f"{STUDY}.{k}" for k in (1, 2, 3))
CALIBRATED = 24
SECONDARY, PARAMETRIC = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.30"


def radiograph(rng: np.random.Generator, number: int, **elements: object) -> bytes:
    uids: dict[str, Any] = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": RADIOGRAPH, "InstanceNumber": number}
    return dicom_bytes(disc(rng), **{**SECRETS, **uids, **elements})


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("clinic"), np.random.default_rng(0)
    (folder / "normals").mkdir()
    for k in range(CALIBRATED):
        (folder / "normals" / f"{k:02}.dcm").write_bytes(radiograph(rng, k))
    new = folder / "new"
    (new / "series").mkdir(parents=True)
    for k in (1, 2):
        (new / f"cr{k}.dcm").write_bytes(radiograph(rng, k))
    for k in range(12):
        values = disc(rng, lesion=k in (4, 5))
        uids: dict[str, Any] = {"StudyInstanceUID": STUDY, "FrameOfReferenceUID": f"{STUDY}.9"}
        # The files' names and the instance numbers go the other way than the places.
        content = ct_slice(values, float(k), SERIES, 100 - k, **SECRETS, **uids, PixelSpacing=[1, 1], SliceThickness=1)
        (new / "series" / f"IM{99 - k:04}").write_bytes(content)
    frames = np.stack([disc(rng), disc(rng, lesion=True), disc(rng)])
    (new / "frames.dcm").write_bytes(dicom_bytes(frames, **SECRETS, StudyInstanceUID=STUDY, SeriesInstanceUID=FRAMES))
    Image.fromarray(disc(rng)).save(new / "picture.png")
    done = started("fit", folder / "normals", "-o", folder / "clinic.msde", *SMALL)
    assert done.returncode == 0, done.stderr
    (folder / "fit.log").write_text(done.stdout + done.stderr)
    return folder


@pytest.fixture(scope="module")
def scored(job: Path) -> tuple[list[pydicom.Dataset], dict[str, dict[str, str]], str]:
    done = started("score", job / "clinic.msde", job / "new", "--dicom", job / "results", "-o", job / "scores.csv")
    assert done.returncode == 0, done.stderr
    with open(job / "scores.csv", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    return [pydicom.dcmread(path) for path in sorted((job / "results").iterdir())], rows, done.stderr


def content(item: pydicom.Dataset) -> dict[str, list[str]]:
    """List what a report says, by the meaning of its concepts."""
    found: dict[str, list[str]] = {}
    for inner in item.get("ContentSequence", []):
        name = inner.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in inner else ""
        if "MeasuredValueSequence" in inner:
            found.setdefault(name, []).append(str(inner.MeasuredValueSequence[0].NumericValue))
        if "TextValue" in inner:
            found.setdefault(name, []).append(inner.TextValue)
        for key, values in content(inner).items():
            found.setdefault(key, []).extend(values)
    return found


def report_on(objects: list[pydicom.Dataset], source: Path) -> pydicom.Dataset:
    """Find the report whose evidence is an image."""
    uid = pydicom.dcmread(source, stop_before_pixels=True).SOPInstanceUID
    found = [report for report in objects if report.Modality == "SR" and uid in report_evidence(report)]
    assert len(found) == 1
    return found[0]


def report_evidence(report: pydicom.Dataset) -> list[str]:
    studies = report.CurrentRequestedProcedureEvidenceSequence
    return [
        image.ReferencedSOPInstanceUID
        for study in studies
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    ]


def test_the_objects_are_valid_and_of_the_study(job: Path, scored) -> None:
    objects, _, said = scored
    assert sum(stored.Modality == "SR" for stored in objects) == 4  # two radiographs, a series, a file of frames
    assert errors(sorted((job / "results").iterdir())) == []
    for stored in objects:
        assert stored.StudyInstanceUID == STUDY
        assert stored.PatientID == SECRETS["PatientID"]
        assert stored.SeriesInstanceUID not in (RADIOGRAPH, SERIES, FRAMES)
        assert "research use only" in stored.SeriesDescription
        assert stored.ContentQualification == "RESEARCH"
    assert "1 of the images are no DICOM and have no DICOM results" in said
    names = [path.name for path in (job / "results").iterdir()]
    assert sorted(names) == sorted(f"{stored.SOPInstanceUID}.dcm" for stored in objects)


def test_images_and_the_highest_slices_have_an_overlay_and_a_heat_map(job: Path, scored) -> None:
    objects, _rows, _ = scored
    shown = [job / "new" / name for name in ("cr1.dcm", "cr2.dcm", "series/IM0094", "series/IM0095")]
    sources = {pydicom.dcmread(path).SOPInstanceUID: path for path in shown}
    model = AnomalyModel.load(job / "clinic.msde")
    maps = {kind: [stored for stored in objects if stored.SOPClassUID == kind] for kind in (SECONDARY, PARAMETRIC)}
    of = [capture.SourceImageSequence[0].ReferencedSOPInstanceUID for capture in maps[SECONDARY]]
    assert sorted(of) == sorted(sources)
    assert len(maps[PARAMETRIC]) == 4
    for capture, uid in zip(maps[SECONDARY], of, strict=True):
        explained = model.explain(sources[uid])
        above = len(explained.overlay) - 20  # below it is the mark of research use
        np.testing.assert_allclose(capture.pixel_array[:above].astype(int), explained.overlay[:above], atol=1)
        assert (capture.pixel_array[above:] != explained.overlay[above:]).any()
        assert any(
            np.allclose(stored.pixel_array, explained.heat, atol=1e-5)
            and stored.StudyInstanceUID == STUDY
            and uid in str(stored.PerFrameFunctionalGroupsSequence)
            for stored in maps[PARAMETRIC]
        )


def test_a_report_holds_the_row_of_the_table(job: Path, scored) -> None:
    objects, rows, _ = scored
    for name in ("cr1.dcm", "cr2.dcm"):
        said, row = content(report_on(objects, job / "new" / name)), rows[str(job / "new" / name)]
        assert float(said["Anomaly score"][0]) == pytest.approx(float(row["anomaly_score"]))
        assert float(said["Conformal p-value"][0]) == pytest.approx(float(row["p_value"]))
        n_higher = round(float(row["p_value"]) * (CALIBRATED + 1)) - 1
        assert f"Of {CALIBRATED} held-out normal images, {n_higher} score at least as high." in said["Comment"]


def test_a_series_has_one_report_that_names_its_highest_slices(job: Path, scored) -> None:
    objects, rows, _ = scored
    folder = job / "new" / "series"
    report = report_on(objects, folder / "IM0099")
    assert len(report_evidence(report)) == 12
    said = content(report)
    assert float(said["Anomaly score"][0]) == pytest.approx(float(rows[str(folder)]["anomaly_score"]))
    assert "Conformal p-value" not in said
    assert "Threshold Value" not in said
    words = next(text for text in said["Comment"] if "not calibrated on volumes" in text)
    parts = {path: float(row["anomaly_score"]) for path, row in rows.items() if path.startswith(f"{folder}#")}
    assert sorted(sorted(parts, key=lambda path: -parts[path])[:2]) == [f"{folder}#IM0094", f"{folder}#IM0095"]
    assert "the highest 2 of 12 parts, by instance numbers: " in words
    assert all(f"{number} ({parts[f'{folder}#IM{number - 1:04}']:.4g})" in words for number in (95, 96))


def test_frames_have_one_report_that_numbers_them(job: Path, scored) -> None:
    report = report_on(scored[0], job / "new" / "frames.dcm")
    assert "the highest 1 of 3 parts, by frames: 2 (" in " ".join(content(report)["Comment"])


def test_scoring_again_replaces(job: Path, scored) -> None:
    before = {path.name for path in (job / "results").iterdir()}
    assert run("score", job / "clinic.msde", job / "new/cr1.dcm", "--dicom", job / "results").returncode == 0
    assert {path.name for path in (job / "results").iterdir()} == before
    assert len(before) == 12


def test_what_cannot_be_reported_has_its_line_and_status_3(job: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "bare.dcm").write_bytes(dicom_bytes(disc(rng)))  # of no study
    (tmp_path / "good.dcm").write_bytes(radiograph(rng, 1))
    done = run("score", job / "clinic.msde", tmp_path, "--dicom", tmp_path / "results")
    assert done.returncode == 3
    assert f"{tmp_path}/bare.dcm: has no DICOM results: the source" in done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert len(list((tmp_path / "results").iterdir())) == 3


def test_a_folder_that_cannot_be_is_said_before_anything_is_scored(job: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("score", job / "clinic.msde", job / "new", "--dicom", tmp_path / "file")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"msde: {tmp_path}/file: cannot be written")


def test_a_killed_run_leaves_whole_objects(job: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "new").mkdir()
    for k in range(60):
        (tmp_path / "new" / f"{k}.dcm").write_bytes(radiograph(rng, k))
    command = [MSDE, "score", job / "clinic.msde", tmp_path / "new", "--dicom", tmp_path / "results"]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(tmp_path.glob("results/*.dcm")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    results = list((tmp_path / "results").iterdir())
    whole = [path for path in results if path.suffix == ".dcm"]
    assert 0 < len(whole) < 180
    assert all(path.suffix == ".part" for path in results if path not in whole)
    assert errors(whole) == []
    assert all(pydicom.dcmread(path).ContentQualification == "RESEARCH" for path in whole)


def test_identifiers_are_stated_where_they_are_asked_for(job: Path, tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl", ".parquet"):
        done = run("score", job / "clinic.msde", job / "new", "--identifiers", "-o", tmp_path / f"s{suffix}")
        assert done.returncode == 0, done.stderr
    with open(tmp_path / "s.csv", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert list(rows[str(job / "new/cr1.dcm")])[5:] == [
        "patient_id",
        "study_date",
        "study_instance_uid",
        "series_instance_uid",
        "sop_instance_uid",
    ]
    source = pydicom.dcmread(job / "new/cr1.dcm")
    assert list(rows[str(job / "new/cr1.dcm")].values())[5:] == [
        *(SECRETS["PatientID"], SECRETS["StudyDate"], STUDY, RADIOGRAPH, source.SOPInstanceUID)
    ]
    series = rows[str(job / "new/series")]
    assert (series["series_instance_uid"], series["sop_instance_uid"]) == (SERIES, "")
    assert set(list(rows[str(job / "new/picture.png")].values())[5:]) == {""}
    table = parquet.read_table(tmp_path / "s.parquet").to_pylist()
    assert table[0]["patient_id"] == SECRETS["PatientID"]
    assert len(table) == len(rows)
    assert f'"patient_id": "{SECRETS["PatientID"]}"' in (tmp_path / "s.jsonl").read_text()


def told(words: list[str], *texts: str | bytes) -> set[str]:
    return {
        word for word in words for text in texts if word in (text if isinstance(text, str) else text.decode("latin-1"))
    }


def test_nothing_of_a_header_leaves_unless_asked_for(job: Path, scored, tmp_path: Path) -> None:
    words = [word for value in SECRETS.values() for word in value.split("^")] + [STUDY]
    model, new = job / "clinic.msde", job / "new"
    broken = tmp_path / "broken"
    broken.mkdir()
    whole = (new / "cr1.dcm").read_bytes()
    for k, share in enumerate((0.1, 0.2, 0.5, 0.99)):
        (broken / f"{k}.dcm").write_bytes(whole[: int(len(whole) * share)])
    at = whole.index(b"Mustermann")
    (broken / "odd.dcm").write_bytes(whole[: at + 5] + b"\xff\xfe" + whole[at + 7 :])
    for command in (
        ["report", model, new, broken, "-o", tmp_path / "r.html", "--normals", job / "normals"],
        ["score", model, new, broken, "-o", tmp_path / "s.parquet", "--cache", tmp_path / "cache"],
        ["score", model, broken, "-o", tmp_path / "s.jsonl", "--dicom", tmp_path / "results"],
        [
            "fit",
            job / "normals",
            broken,
            "-o",
            tmp_path / "m.msde",
            "--distrusted",
            tmp_path / "d.txt",
            "--no-heatmaps",
            *SMALL,
        ],
        ["calibrate", model, new, "-o", tmp_path / "c.msde"],
        ["evaluate", model, "--normal", new / "cr1.dcm", "--abnormal", new / "series", "--json", tmp_path / "e.json"],
        ["info", model],
    ):
        done = run(*command)
        assert done.returncode in (0, 3), done.stderr
        assert told(words, done.stdout, done.stderr) == set(), command[0]
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name not in ("broken", "results")]
    assert {"r.html", "s.parquet", "m.msde", "d.txt", "c.msde", "e.json"} <= {path.name for path in files}
    for path in [*files, model, job / "fit.log", job / "scores.csv"]:
        assert told(words, path.read_bytes()) == set(), path
    assert told(words, scored[2], *[path.name for path in (job / "results").iterdir()]) == set()
    assert told(words, *[path.read_bytes() for path in (job / "results").iterdir()]) >= {"ID-4711", "Mustermann"}


def test_paths_in_the_report_are_relative(job: Path, tmp_path: Path) -> None:
    assert run("report", job / "clinic.msde", job / "new", "-o", tmp_path / "r.html").returncode == 0
    page = (tmp_path / "r.html").read_text()
    assert str(job) not in page
    assert "series#IM0095" in page


def test_the_report_states_identifiers_where_they_are_asked_for(job: Path, tmp_path: Path) -> None:
    done = run("report", job / "clinic.msde", job / "new", "-o", tmp_path / "r.html", "--identifiers")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.html").read_text()
    assert page.count(SECRETS["PatientID"]) == 4
    assert SERIES in page
    assert "Erika" not in page
    assert "protect this page" in page


def test_the_parts_that_a_report_names_are_those_averaged() -> None:
    assert highest_parts([3.0, 9.0, 1.0, *[0.0] * 10, 9.0]).tolist() == [1, 13]
