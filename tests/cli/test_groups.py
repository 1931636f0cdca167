"""Patients on the command line: --patient, --groups, --by patient, and what is said of the false-alarm rate."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.stats import false_discovery_control
from tests.command import SMALL, msde
from tests.images.medical import dicom_bytes
from tests.pictures import disc, write_discs


def renamed(folder: Path, per_patient: int) -> Path:
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"p{number // per_patient:02}_{number % per_patient}.png")
    return folder


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    renamed(write_discs(root / "train", 60), 2)
    renamed(write_discs(root / "normal", 8, seed=1), 2)
    renamed(write_discs(root / "abnormal", 8, seed=2, lesion=True), 2)
    done = msde(
        *("fit", root / "train", "-o", root / "model.msde", "--patient", r"p\d\d", "--no-heatmaps", *SMALL),
        MSDE_CACHE=str(root / "cache"),
    )
    assert done.returncode == 0, done.stderr
    (root / "fit.txt").write_text(done.stdout)
    return root


def rows(text):
    return list(csv.DictReader(text.splitlines()))


def test_fit_says_how_far_its_false_alarm_rate_may_lie_off(job):
    said = (job / "fit.txt").read_text()
    assert "30 patients are calibrated on too, for one p-value of all their images" in said
    assert "False alarms: 5 % on average over such models; of this one, from 30 patients or volumes (60 normal" in said
    assert "The next useful number is 39; 100 and more are advised." in said


@pytest.mark.slow
def test_patients_have_one_row_each(job, tmp_path):
    done = msde(
        "score", job / "model.msde", job / "normal", job / "abnormal", "--by", "patient", "--patient", r"\w+/p\d+"
    )
    found = rows(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [row["path"] for row in found] == [f"{kind}/p{n:02}" for kind in ("normal", "abnormal") for n in range(4)]
    assert {row["images"] for row in found} == {"2"}
    assert {row["flagged"] for row in found[4:]} == {"true"}
    assert all(Path(row["highest"]).parent.name == row["path"].split("/")[0] for row in found)
    for name in ("patients.jsonl", "patients.parquet"):
        written = msde(
            *("score", job / "model.msde", job / "normal", "--by", "patient", "--patient", r"\w+/p\d+", "-o"),
            tmp_path / name,
        )
        assert written.returncode == 0, written.stderr
    lines = [json.loads(line) for line in (tmp_path / "patients.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [2] * 4


def test_a_patient_with_an_unreadable_image_has_no_score(job, tmp_path):
    shutil.copytree(job / "normal", tmp_path / "normal")
    (tmp_path / "normal" / "p01_9.png").write_bytes(b"")
    done = msde("score", job / "model.msde", tmp_path / "normal", "--by", "patient", "--patient", r"p\d+")
    assert done.returncode == 3
    found = {row["path"]: row for row in rows(done.stdout)}
    assert found["p01"]["error"] == "p01: 1 of 3 images of the patient cannot be used, so there is no score"
    assert not found["p01"]["anomaly_score"]
    assert found["p00"]["p_value"]


@pytest.mark.slow
def test_discoveries_have_a_column(job):
    done = msde("score", job / "model.msde", job / "normal", job / "abnormal", "--fdr", "0.2")
    found = rows(done.stdout)
    assert list(found[0])[-1] == "discovery"
    abnormal = [row for row in found if "/abnormal/" in row["path"]]
    assert {row["discovery"] for row in abnormal} == {"true"}
    adjusted = false_discovery_control([float(row["p_value"]) for row in found])
    assert [row["discovery"] == "true" for row in found] == (adjusted <= 0.2).tolist()
    by_patient = msde(
        *("score", job / "model.msde", job / "normal", job / "abnormal", "--fdr", "0.2", "--by", "patient"),
        *("--patient", r"\w+/p\d+"),
    )
    assert {row["discovery"] for row in rows(by_patient.stdout)[4:]} == {"true"}


@pytest.mark.slow
def test_score_warns_of_images_that_took_part_in_the_fit(job):
    done = msde("score", job / "model.msde", job / "normal", job / "train" / "p00_0.png")
    assert done.stderr.count("1 of these images took part in the fit") == 1
    assert "took part" not in msde("score", job / "model.msde", job / "normal").stderr


@pytest.mark.slow
def test_calibrate_takes_a_table(job, tmp_path):
    (tmp_path / "local").mkdir()
    rng = np.random.default_rng(5)
    from PIL import Image

    lines = ["path,group"]
    for number in range(24):
        Image.fromarray(disc(rng)).save(tmp_path / "local" / f"{number}.png")
        lines.append(f"local/{number}.png,{number // 4}")
    table = tmp_path / "groups.csv"
    table.write_text("\n".join([*lines, "local/gone.png,7"]))
    done = msde(
        *("calibrate", job / "model.msde", tmp_path / "local", "-o", tmp_path / "local.msde", "--groups", table),
        *("--alpha", "0.2"),
    )
    assert done.returncode == 0, done.stderr
    assert "1 of its 25 paths do not exist, such as local/gone.png" in done.stderr
    assert "from 6 patients or volumes (24 normal images)" in done.stdout
    assert "on 6 patients, for one p-value" in done.stdout
    table.write_text("path,group\nlocal/0.png,1\nlocal/0.png,2\n")
    refused = msde("calibrate", job / "model.msde", tmp_path / "local", "-o", tmp_path / "x.msde", "--groups", table)
    assert refused.returncode == 1
    assert "local/0.png is in another group before" in refused.stderr
    few = msde(
        *("calibrate", job / "model.msde", tmp_path / "local", "-o", tmp_path / "few.msde"),
        *("--patient", r"/(\d)\d*\.png", "--alpha", "0.01"),
    )
    assert "10 held-out patients or volumes are too few to flag any image" in few.stderr
    assert "give at least 99 or a larger --alpha" in few.stderr


def test_evaluate_says_what_a_flag_tells(job, tmp_path):
    done = msde(
        *("evaluate", job / "model.msde", "--normal", job / "normal", "--abnormal", job / "abnormal"),
        *("--patient", r"\w+/p\d+", "--prevalence", "0.02", "--json", tmp_path / "figures.json"),
    )
    assert done.returncode == 0, done.stderr
    assert "by chance 0.500)" in done.stdout
    assert "intervals by 8 patients" in done.stdout
    assert "where 2.0% are abnormal: " in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    far, sensitivity = figures["false_alarm_rate"], figures["sensitivity"]
    assert figures["n_patients"] == 8
    assert figures["false_flags_per_1000"] == pytest.approx(980 * far)
    assert figures["flags_per_1000"] == pytest.approx(980 * far + 20 * sensitivity)
    assert figures["positive_predictive_value"] == pytest.approx(20 * sensitivity / (980 * far + 20 * sensitivity))


@pytest.mark.slow
def test_confidence_moves_the_threshold_up_and_says_what_it_needs(job, tmp_path):
    fit = ("fit", job / "train", "-o", tmp_path / "sure.msde", "--patient", r"p\d\d", "--no-heatmaps", *SMALL)
    done = msde(*fit, "--confidence", "0.999", MSDE_CACHE=str(job / "cache"))
    assert "30 held-out patients or volumes are too few" in done.stderr
    assert "with a probability of 0.999; give at least 135 or a larger --alpha" in done.stderr
    done = msde(*fit, "--confidence", "0.7", "--alpha", "0.1", MSDE_CACHE=str(job / "cache"))
    assert "False alarms: at most 10 % with a probability of 70 %" in done.stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--patient", "zzz"), "the pattern 'zzz' tells the patient of none of the 60 images"),
        (("--patient", "["), "is no regular expression"),
        (("--patient", "p"), "all 60 images are of one patient or volume by what was given"),
        (("--groups", "none.csv"), "none.csv: cannot be read"),
    ],
)
def test_patients_that_cannot_be_told_are_refused_in_one_line(job, tmp_path, options, reason):
    done = msde(
        *("fit", job / "train", "-o", tmp_path / "x.msde", "--no-heatmaps", *options, *SMALL),
        MSDE_CACHE=str(job / "cache"),
    )
    assert done.returncode == 1
    assert reason in done.stderr


def test_score_takes_patients_for_patients_only(job):
    done = msde("score", job / "model.msde", job / "normal", "--patient", "p")
    assert done.returncode == 2
    assert "go with --by patient" in done.stderr


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """DICOM radiographs, two of each of 25 patients, and a model of 22 of them."""
    root = tmp_path_factory.mktemp("studies")
    rng = np.random.default_rng(7)
    for number in range(50):
        patient = number // 2
        folder = root / ("train" if patient < 22 else "new")
        folder.mkdir(exist_ok=True)
        # Names that tell nothing, as UIDs: those of one patient are far apart.
        (folder / f"{number % 2}{patient * 7 % 25:02}.dcm").write_bytes(
            dicom_bytes(
                disc(rng, lesion=patient == 24),
                PatientID=f"SECRET-{patient}",
                StudyInstanceUID=f"1.2.3.{patient}",
                SeriesInstanceUID=f"1.2.3.{patient}.{number % 2}",
            )
        )
    done = msde("fit", root / "train", "-o", root / "model.msde", "--no-heatmaps", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "22 patients are calibrated on too" in done.stdout
    return root


def test_dicom_headers_tell_patients_and_nothing_of_them_is_kept_or_said(studies):
    assert b"SECRET" not in (studies / "model.msde").read_bytes()
    done = msde("score", studies / "model.msde", studies / "new", "--by", "patient")
    assert "SECRET" not in done.stdout + done.stderr
    found = rows(done.stdout)
    assert len(found) == 3
    assert sorted(row["flagged"] for row in found)[-1] == "true"
    stated = msde("score", studies / "model.msde", studies / "new", "--by", "patient", "--identifiers")
    assert {row["patient_id"] for row in rows(stated.stdout)} == {f"SECRET-{n}" for n in (22, 23, 24)}


@pytest.mark.slow
def test_a_patient_has_a_dicom_report_of_all_images(studies, tmp_path):
    done = msde("score", studies / "model.msde", studies / "new", "--dicom", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    reports = [pydicom.dcmread(path) for path in (tmp_path / "results").iterdir()]
    of_patients = [report for report in reports if report.SeriesNumber == 9904]
    assert {report.PatientID for report in of_patients} == {f"SECRET-{n}" for n in (22, 23, 24)}
    for report in of_patients:
        texts = [element.value for element in report.iterall() if element.keyword == "TextValue"]
        assert any(text.startswith("Of all 2 images of the patient together: ") for text in texts)
        (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
        assert len(evidence.ReferencedSeriesSequence) == 2


def test_a_report_tells_what_all_images_of_a_patient_say(studies, tmp_path):
    done = msde(
        "report", studies / "model.msde", studies / "new", "-o", tmp_path / "report.html", "--prevalence", "0.03"
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.html").read_text()
    assert text.count("Of the patient's 2 images together: ") == 6
    assert "of 3 patients flagged by all of their images together" in text
    assert "Where 3 % are abnormal, at most " in text
    assert "False alarms: 5 % on average over such models" in text
    assert "SECRET" not in text
