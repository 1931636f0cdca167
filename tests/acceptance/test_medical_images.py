"""From DICOM, NIfTI, TIFF stacks and arrays to a table of scores, by the command line and by the library."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.command import SMALL
from tests.command import msde as run
from tests.images.medical import SECRETS, ct_slice, dicom_bytes, nifti_bytes
from tests.images.syntaxes import NAMES, writes, written
from tests.pictures import disc
from tests.scores import ROUNDING

from msde import AnomalyModel
from msde.backbones import Backbone
from msde.images import ImageRule
from msde.method.volume_score import volume_score

pytestmark = pytest.mark.slow  # whole jobs


def wide(rng: np.random.Generator, *, lesion: bool = False) -> np.ndarray:
    """Give a disc in 12 bits, held in 16."""
    return disc(rng, lesion=lesion).astype(np.uint16) * 16


def write_series(folder: Path, rng: np.random.Generator, uid: str, n: int = 12, *, lesion: bool = False) -> Path:
    """Write a CT series in Hounsfield units, its files in no order, the lesion in two slices."""
    folder.mkdir(parents=True)
    for k in range(n):
        values = wide(rng, lesion=lesion and k in (4, 5)).astype(np.int16) - 1024
        elements = {"Modality": "CT", "WindowCenter": 1000, "WindowWidth": 4000, "PatientName": "Mustermann^Erika"}
        (folder / f"IM{(k * 5) % n:04}").write_bytes(ct_slice(values, -float(k), uid, k, **elements))
    return folder


def as_nifti(folder: Path) -> bytes:
    """Give the series as one volume."""
    from pydicom import dcmread

    slices = sorted((dcmread(path) for path in folder.iterdir()), key=lambda s: s.ImagePositionPatient[2])
    return nifti_bytes(
        np.stack([s.pixel_array.T for s in slices], axis=2), np.diag([-1.0, -1.0, 1.0, 1.0]), packed=True
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("medical"), np.random.default_rng(1)
    for k in range(3):
        write_series(folder / "normals" / f"{k}", rng, f"1.2.{k}")
    write_series(folder / "new" / "well", rng, "1.3.1")
    write_series(folder / "new" / "ill", rng, "1.3.2", lesion=True)
    for k in range(12):
        write_series(folder / "calibration" / f"{k}", rng, f"1.4.{k}", n=3)
    done = run("fit", folder / "normals", "-o", folder / "m.msde", "--intensity", "window:-1024,3071", *SMALL)
    assert done.returncode == 0, done.stderr
    return folder


def table(text: str) -> dict[str, dict[str, str]]:
    return {row["path"]: row for row in csv.DictReader(text.splitlines())}


def test_a_series_gets_a_row_a_slice_and_one_for_itself(data: Path) -> None:
    done = run("score", data / "m.msde", data / "new")
    assert done.returncode == 0, done.stderr
    rows = table(done.stdout)
    assert len(rows) == 26
    for name in ("well", "ill"):
        volume = rows[str(data / "new" / name)]
        parts = [row for path, row in rows.items() if path.startswith(f"{data / 'new' / name}#")]
        scores = np.array([float(row["anomaly_score"]) for row in parts])
        assert len(parts) == 12
        assert float(volume["anomaly_score"]) == pytest.approx(volume_score(scores))
        assert volume["p_value"] == volume["flagged"] == ""
        assert all(row["p_value"] for row in parts)
    assert float(rows[str(data / "new/ill")]["anomaly_score"]) > float(rows[str(data / "new/well")]["anomaly_score"])


def test_a_volume_gets_a_p_value_once_volumes_were_calibrated_on(data: Path) -> None:
    done = run("calibrate", data / "m.msde", data / "calibration", "-o", data / "here.msde", "--alpha", "0.1")
    assert done.returncode == 0, done.stderr
    assert "and on 12 volumes" in done.stdout
    rows = table(run("score", data / "here.msde", data / "new").stdout)
    assert float(rows[str(data / "new/ill")]["p_value"]) == pytest.approx(1 / 13)
    assert rows[str(data / "new/ill")]["flagged"] == "true"


def test_volumes_among_many_normals_are_calibrated_on_at_the_fit(data: Path) -> None:
    rng, normals = np.random.default_rng(7), data / "many"
    for k in range(20):
        write_series(normals / f"{k}", rng, f"1.6.{k}", n=3)
    for alpha, volumes in (("0.05", 20), ("0.04", 0)):
        model, rule = data / f"many-{alpha}.msde", ["--intensity", "window:-1024,3071", "--no-heatmaps", *SMALL]
        done = run("fit", normals, "-o", model, "--alpha", alpha, *rule)
        assert done.returncode == 0, done.stderr
        assert AnomalyModel.load(model).info()["calibration"]["volumes"] == volumes
    rows = table(run("score", data / "many-0.05.msde", data / "new").stdout)
    ill, well = rows[str(data / "new/ill")], rows[str(data / "new/well")]
    assert float(ill["p_value"]) == pytest.approx(1 / 21)
    assert ill["flagged"] == "true"
    assert float(well["p_value"]) > float(ill["p_value"])


def test_the_same_scan_as_nifti_has_the_scores_of_the_series(data: Path, tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(as_nifti(data / "new/ill"))
    model = AnomalyModel.load(data / "m.msde")
    assert model.rule == ImageRule("window:-1024,3071")
    series, scan = model.score(data / "new/ill"), model.score([tmp_path / "scan.nii.gz"])
    assert [row.path for row in scan] == [f"{tmp_path}/scan.nii.gz#{k:03}" for k in range(12)] + [
        f"{tmp_path}/scan.nii.gz"
    ]
    expected = [row.anomaly_score for row in series]
    np.testing.assert_allclose([row.anomaly_score for row in scan], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "aspect"),
    [("dicom", "squeeze"), ("full-range", "letterbox"), ("percentile", "squeeze"), ("window:0,4095", "letterbox")],
)
def test_array_png_dicom_and_nifti_have_equal_scores(network: Backbone, tmp_path: Path, rule: str, aspect: str) -> None:
    rng = np.random.default_rng(5)
    normals = [np.pad(wide(rng), ((0, 0), (8, 0))) for _ in range(16)]
    model = AnomalyModel(network, rule=ImageRule(rule, aspect)).fit(normals, heatmaps=False)
    picture = np.pad(wide(rng, lesion=True), ((0, 0), (8, 0)))
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture).save(tmp_path / "a.tif")
    (tmp_path / "a.dcm").write_bytes(dicom_bytes(picture))
    (tmp_path / "windowed.dcm").write_bytes(dicom_bytes(picture, WindowCenter=32768, WindowWidth=65536, Modality="MR"))
    (tmp_path / "a.nii").write_bytes(nifti_bytes(picture.T))
    (tmp_path / "a.nii.gz").write_bytes(nifti_bytes(picture.T, packed=True))
    rows = model.score([picture, *sorted(tmp_path.iterdir())])
    assert [row.error for row in rows] == [None] * 7
    assert [row.anomaly_score for row in rows] == pytest.approx([rows[0].anomaly_score] * 7, rel=ROUNDING)
    model.save(tmp_path / "m.msde")
    again = AnomalyModel.load(tmp_path / "m.msde")
    assert again.rule == ImageRule(rule, aspect)
    assert again.score([tmp_path / "a.dcm"])[0].anomaly_score == pytest.approx(rows[0].anomaly_score)


def test_one_picture_has_one_score_in_every_syntax_and_format(network: Backbone, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    model = AnomalyModel(network).fit([disc(rng) for _ in range(16)])
    picture = disc(rng, lesion=True)
    deep = picture.astype(np.uint16) * 257
    Image.fromarray(picture).save(tmp_path / "8.png")
    Image.fromarray(deep).save(tmp_path / "16.png")
    (tmp_path / "8.nii").write_bytes(nifti_bytes(picture.T))
    for compression in (None, "deflate", "jpeg2000"):
        tifffile.imwrite(tmp_path / f"{compression}.tif", deep, photometric="minisblack", compression=compression)
    for syntax, name in NAMES.items():
        twelve = np.rint(picture / 255 * 4095).astype(np.uint16)
        if writes(syntax, picture, 8):
            (tmp_path / f"{name}.dcm").write_bytes(written(picture, syntax))
            inverse = written(255 - picture, syntax, PhotometricInterpretation="MONOCHROME1")
            (tmp_path / f"{name} inverse.dcm").write_bytes(inverse)
        if writes(syntax, picture, 12):
            (tmp_path / f"{name} 12.dcm").write_bytes(written(twelve, syntax, 12))
    rows = model.score([picture, *sorted(tmp_path.iterdir())])
    assert len(rows) > 30
    assert {row.error for row in rows} == {None}
    for row in rows:
        lossy = "/jpeg.dcm" in row.path or "/jpeg inverse" in row.path or "/jpeg-12" in row.path
        assert row.anomaly_score == pytest.approx(rows[0].anomaly_score, rel=0.2 if lossy else 1e-3), row.path


def test_a_volume_with_an_unreadable_slice_has_no_score(data: Path, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "cut", np.random.default_rng(2), "1.5")
    path = folder / "IM0003"
    path.write_bytes(path.read_bytes()[:-100])
    done = run("score", data / "m.msde", folder)
    rows = table(done.stdout)
    assert done.returncode == 3
    assert rows[str(folder)]["anomaly_score"] == ""
    assert "1 of its 12 parts cannot be used" in rows[str(folder)]["error"]
    assert sum(row["error"] == "" for row in rows.values()) == 11


def test_nothing_of_the_patient_gets_out(data: Path, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "cut", np.random.default_rng(2), "1.5")
    for k, path in enumerate(sorted(folder.iterdir())):
        content = path.read_bytes()
        at = content.index(b"Mustermann")
        path.write_bytes(content[: at + 40 + 60 * k] + b"\xff" * (k % 3))
    done = run("score", data / "m.msde", folder)
    model = (data / "m.msde").read_bytes()
    for value in SECRETS.values():
        for word in value.split("^"):
            assert word not in done.stdout + done.stderr
            assert word.encode() not in model


def test_dim_normals_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for k in range(20):
        (tmp_path / f"{k}.dcm").write_bytes(dicom_bytes(wide(rng)))
    done = run("fit", tmp_path, "-o", tmp_path / "m.msde", "--no-heatmaps", *SMALL)
    assert done.returncode == 0
    assert "no pixel is brighter than 3." in done.stderr
    assert "--intensity percentile" in done.stderr
    done = run("fit", tmp_path, "-o", tmp_path / "m.msde", "--no-heatmaps", "--intensity", "percentile", *SMALL)
    assert "brighter" not in done.stderr


def test_a_wrong_rule_is_one_line(tmp_path: Path) -> None:
    done = run("fit", tmp_path, "-o", tmp_path / "m.msde", "--intensity", "window:5,1")
    assert done.returncode == 1
    assert done.stderr.startswith("msde: intensity rule 'window:5,1' is unknown; give dicom, full-range")


def test_evaluation_counts_volumes_once(data: Path) -> None:
    done = run("evaluate", data / "m.msde", "--normal", data / "new/well", "--abnormal", data / "new/ill")
    assert done.returncode == 0, done.stderr
    assert "normal 1, abnormal 1, unreadable 0" in done.stdout
    assert "AUROC  1.000" in done.stdout


def test_scoring_dicom_imports_neither_torch_nor_scikit_learn(data: Path) -> None:
    code = (
        "import sys; from msde import AnomalyModel;"
        f"AnomalyModel.load({str(data / 'm.msde')!r}).score({str(data / 'new/well')!r});"
        "print(sorted({'torch', 'sklearn', 'scipy', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
