"""Jobs on a real cluster, with real processes that are killed."""

import builtins
import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pyarrow import parquet
from tests.command import msde
from tests.patience import wait_until
from tests.requirements import need

from msde import AnomalyModel
from msde.cluster.api import embed_on, score_on
from msde.cluster.cluster import Cluster
from msde.errors import DataError, MSDEError
from msde.images.rule import OUTDATED
from msde.model.file import read_model, write_model

need("ray")
pytestmark = [
    pytest.mark.slow,
    # Ray sets its own deprecated settings when it is imported.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
    pytest.mark.filterwarnings("ignore::ray.util.annotations.RayDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def quiet(line: str) -> None:
    """Take progress."""


def manifest(path: Path, images) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *([str(image)] for image in images)])
    return str(path)


def rows(parts) -> list[dict]:
    return [row for part in sorted(Path(parts).glob("parts/*.parquet")) for row in parquet.read_table(part).to_pylist()]


def alone(model_file, images) -> list[dict]:
    """Score in this process."""
    scores = AnomalyModel.load(model_file).score(images)
    return [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in vars(one).items()}
        for one in scores
    ]


def near(score: float | None):
    return None if score is None else pytest.approx(score, rel=1e-6)


def same(found: list[dict], expected: list[dict]) -> None:
    assert [row["path"] for row in found] == [row["path"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["anomaly_score"] == near(other["anomaly_score"])
        assert [one[name] for name in ("p_value", "flagged", "error")] == [
            other[name] for name in ("p_value", "flagged", "error")
        ]


def at_work(parts: Path) -> dict:
    """Wait until a worker has begun a part; tell which."""

    def begun() -> dict | None:
        for path in parts.glob("_started/0*"):
            with suppress(FileNotFoundError, json.JSONDecodeError):
                return json.loads(path.read_text())
        return None

    return wait_until(begun, "a worker that has begun", 0.01)


@pytest.fixture(scope="module")
def listed(discs):
    """Images with one that cannot be read and one that is missing, twice as many as there are files."""
    (discs / "new" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    images = sorted((discs / "new").glob("*.png")) + sorted((discs / "abnormal").glob("*.png")) + [discs / "gone.png"]
    return images


@pytest.fixture(scope="module")
def expected(listed, model_file):
    return alone(model_file, listed)


def test_rows_equal_those_of_one_process(address, listed, expected, model_file, tmp_path):
    cluster = Cluster(str(tmp_path / "out"), address, 3, part_rows=7)
    summary = score_on(cluster, model_file, [manifest(tmp_path / "m.csv", listed)], quiet)
    same(rows(tmp_path / "out"), expected)
    assert (summary.images, summary.rows, summary.errors) == (len(listed), len(listed), {"image": 2})
    again = score_on(cluster, model_file, [str(tmp_path / "m.csv")], quiet)
    assert again.images_now == 0
    with pytest.raises(DataError, match="part_rows differs"):
        score_on(Cluster(str(tmp_path / "out"), address), model_file, [str(tmp_path / "m.csv")], quiet)


def test_python_keeps_its_own_print(address):
    from ray.experimental import tqdm_ray

    tqdm_ray.instance()
    assert builtins.print.__module__ == "builtins"


def test_the_command_writes_one_table_as_it_does_alone(address, listed, model_file, tmp_path):
    images = listed[-6:-1]
    for file, flags in (("alone.csv", ()), ("together.csv", ("--ray", address, "--workers", 1, "--part-rows", 2))):
        assert msde("score", model_file, *images, "-o", tmp_path / file, *flags).returncode == 0
    alone, together = (
        list(csv.DictReader((tmp_path / name).read_text().splitlines())) for name in ("alone.csv", "together.csv")
    )
    assert [{**row, "anomaly_score": near(float(row["anomaly_score"]))} for row in alone] == [
        {**row, "anomaly_score": float(row["anomaly_score"])} for row in together
    ]
    assert len(list((tmp_path / "together.csv.parts" / "parts").iterdir())) == 3
    done = msde("score", model_file, *images, "-o", tmp_path / "together.csv", "--ray", address, "--part-rows", 2)
    assert "all 3 parts are done already" in done.stderr


def test_it_is_told_that_a_model_is_of_older_reading_rules(model_file, tmp_path):
    fitted, _ = read_model(model_file)
    write_model(replace(fitted, rule=replace(fitted.rule, version=1)), tmp_path / "older.msde")
    told: list[str] = []
    with pytest.raises(MSDEError):  # before the cluster is looked for
        score_on(Cluster(str(tmp_path / "out")), tmp_path / "older.msde", [str(tmp_path / "gone.csv")], told.append)
    assert told == [OUTDATED]


def test_object_storage_that_fails_reads_gives_every_row_once(address, server, listed, expected, model_file, tmp_path):
    import s3fs

    files = s3fs.S3FileSystem()
    files.mkdir("images")
    for image in listed[:-1]:
        files.pipe_file(f"images/{image.parent.name}/{image.name}", image.read_bytes())
    names = [f"s3://images/{image.parent.name}/{image.name}" for image in listed]
    server.failing = True
    try:
        cluster = Cluster("s3://images/out", address, 2, part_rows=10)
        summary = score_on(cluster, model_file, [manifest(tmp_path / "m.csv", names)], quiet)
        assert summary.errors == {"image": 1, "storage": 1}
        folder = Cluster("s3://images/again", address, 1, part_rows=50)
        assert score_on(folder, model_file, ["s3://images/new/"], quiet).images == 31
    finally:
        server.failing = False
    assert server.failed >= 3
    files.get("images/out/parts/", str(tmp_path / "out" / "parts") + "/", recursive=True)
    found = rows(tmp_path / "out")
    assert [row["path"] for row in found] == names
    for row, other in zip(found[:-1], expected, strict=False):
        assert row["anomaly_score"] == near(other["anomaly_score"])
    assert "cannot be read from storage" in found[-1]["error"]


def test_killed_and_slow_workers_and_a_killer_image_leave_every_row_once(
    address, faults, listed, expected, model_file, tmp_path
):
    killer = PngInfo()
    killer.add_text("fault", "kill")
    with Image.open(listed[0]) as picture:
        picture.save(tmp_path / "killer.png", pnginfo=killer)
    images = [*listed[:20], tmp_path / "killer.png", *listed[20:]]
    killed = []

    def disturb() -> None:
        worker = at_work(tmp_path / "out")
        os.kill(worker["pid"], signal.SIGKILL)
        killed.append(worker["pid"])
        while (worker := at_work(tmp_path / "out"))["pid"] in killed:
            time.sleep(0.01)
        (faults / f"slow.{worker['pid']}").touch()

    disturber = Thread(target=disturb)
    disturber.start()
    cluster = Cluster(str(tmp_path / "out"), address, 2, part_rows=5)
    summary = score_on(cluster, model_file, [manifest(tmp_path / "m.csv", images)], quiet)
    disturber.join()
    found = rows(tmp_path / "out")
    assert found[20]["path"] == str(tmp_path / "killer.png")
    assert "kills the process that reads it" in found.pop(20)["error"]
    same(found, expected)
    assert killed
    assert summary.errors == {"image": 2, "killer": 1}


def test_a_killed_driver_goes_on_where_it_was(address, listed, expected, model_file, tmp_path):
    out = tmp_path / "out"
    inputs = manifest(tmp_path / "m.csv", listed)
    command = [sys.executable, "-m", "msde.cli.main", "score", model_file, inputs, "--ray", address, "--parts", out]
    command = [sys.executable, "-c", "from msde.cli.main import main; main()", *command[3:]]
    driver = subprocess.Popen([*command, "--workers", "1", "--part-rows", "3"], stderr=subprocess.DEVNULL)
    while not list(out.glob("parts/*")):
        assert driver.poll() is None
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    time.sleep(1)  # its worker may end a part
    done = {path: path.stat().st_mtime_ns for path in out.glob("parts/*")}
    summary = score_on(Cluster(str(out), address, 1, part_rows=3), model_file, [inputs], quiet)
    same(rows(out), expected)
    assert summary.images_now <= len(listed) - 3 * len(done) + 3
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())


def test_embeddings_are_those_of_one_process(address, discs, model_file, tmp_path):
    model = AnomalyModel.load(model_file)
    images = sorted((discs / "abnormal").glob("*.png"))
    cluster = Cluster(str(tmp_path / "out"), address, 2, part_rows=4)
    embed_on(cluster, model.encoder, model.rule, [str(discs / "abnormal")], quiet)
    for row, other in zip(rows(tmp_path / "out"), model.embed(images), strict=True):
        assert row["path"] == other.name
        assert row["sha256"] == other.digest
        assert row["embedding"] == pytest.approx(other.embedding.tolist(), rel=1e-5, abs=1e-6)


def test_a_fit_gives_the_same_model_and_with_landmarks_one_of_all_normals(
    address, network, discs, plain_model, tmp_path
):
    from msde.cluster.fit import fit_on

    cluster = Cluster(str(tmp_path / "out"), address, 2, part_rows=9)
    fitted, _ = fit_on(cluster, AnomalyModel(network), [str(discs / "train")], [], 100, quiet)
    assert fitted.calibration_.scores == pytest.approx(plain_model.calibration_.scores, rel=1e-6)
    assert fitted.fingerprint_.n_normals == 40
    capped, summaries = fit_on(cluster, AnomalyModel(network), [str(discs / "train")], [], 30, quiet)
    capped.save(tmp_path / "capped.msde")
    assert summaries[0].images_now == 0
    assert len(capped.calibration_.scores) == 30
    assert capped.fingerprint_.n_normals == 40
    loaded = AnomalyModel.load(tmp_path / "capped.msde")
    normal, abnormal = loaded.score(discs / "new"), loaded.score(discs / "abnormal")
    assert max(one.anomaly_score for one in normal if not one.error) < min(one.anomaly_score for one in abnormal)


def test_labels_are_learnt_from_as_in_one_process(address, network, discs, tmp_path):
    from msde.cluster.fit import fit_on
    from msde.images.patients import GroupTable

    normals, abnormal = str(discs / "train"), str(discs / "abnormal")
    kinds = GroupTable.of("kinds", {abnormal: "square"})
    cluster = Cluster(str(tmp_path / "out"), address, 1, part_rows=9)
    fit = partial(fit_on, abnormal=[abnormal], kinds=kinds)
    fitted, summaries = fit(cluster, AnomalyModel(network), [normals], [], 100, quiet)
    expected = AnomalyModel(network).fit(normals, abnormal=abnormal, kinds=kinds, heatmaps=False)
    assert len(summaries) == 2
    assert fitted.calibration_.scores == pytest.approx(expected.calibration_.scores, rel=1e-6)
    assert fitted.fitted.labels.in_words() == "6 labelled abnormal images of 6 patients: 6 square"
    capped, _ = fit(cluster, AnomalyModel(network), [normals], [], 30, quiet)
    capped.save(tmp_path / "capped.msde")
    assert AnomalyModel.load(tmp_path / "capped.msde").info()["training"]["labelled"]["images"] == 6
    normal = discs / "train" / "003.png"  # no landmark of seven
    other = replace(cluster, parts=str(tmp_path / "other"))
    with pytest.raises(DataError, match=f"among the normals: {normal} is one of them"):
        fit_on(other, AnomalyModel(network), [normals], [], 7, quiet, abnormal=[str(normal)])


def test_patients_of_dicom_in_object_storage_are_told_by_their_headers(address, server, network, tmp_path):
    import numpy as np
    import s3fs
    from tests.images.medical import dicom_bytes
    from tests.pictures import disc

    from msde.cluster.fit import fit_on

    files, rng = s3fs.S3FileSystem(), np.random.default_rng(0)
    files.mkdir("patients")
    for number in range(24):
        values = disc(rng).astype(np.uint16)
        content = dicom_bytes(values, PatientID=f"Confidential-{number // 3}", WindowCenter=128, WindowWidth=256)
        files.pipe_file(f"patients/{number:02}.dcm", content)
    cluster = Cluster(str(tmp_path / "out"), address, 1, part_rows=50)
    for landmarks in (100, 12):
        fitted, _ = fit_on(cluster, AnomalyModel(network), ["s3://patients/"], [], landmarks, quiet)
        assert fitted.calibration_.n_units == 8
    kept = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"Confidential" not in kept
