"""Parts done in this process, without a cluster."""

import os
import sys

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pyarrow import parquet
from tests.pictures import disc

from msde import AnomalyModel
from msde.cluster.job_folder import JobFolder
from msde.cluster.listing import sources
from msde.cluster.worker import MOST_BEGUN, PartWorker
from msde.errors import DataError, MSDEError


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    """A worker goes to the folder of its job; come back after the test."""
    monkeypatch.chdir(tmp_path)


def start(url, model_file, inputs, part_rows=100) -> JobFolder:
    return JobFolder.start(str(url), "score", ("m", model_file.read_bytes()), [str(one) for one in inputs], part_rows)


def rows(job: JobFolder) -> list[dict]:
    return [row for part in job.finished() for row in parquet.read_table(job.open_part(part)).to_pylist()]


@pytest.fixture
def stack(tmp_path, rng):
    """A TIFF of three pages."""
    pages = [Image.fromarray(disc(rng)) for _ in range(3)]
    pages[0].save(tmp_path / "stack.tiff", save_all=True, append_images=pages[1:])
    return tmp_path / "stack.tiff"


@pytest.mark.slow
def test_a_stack_of_object_storage_has_the_rows_of_the_file(server, stack, model_file, tmp_path):
    import s3fs

    files = s3fs.S3FileSystem()
    files.mkdir("stacks")
    files.pipe_file("stacks/stack.tiff", stack.read_bytes())
    (tmp_path / "m.csv").write_text("path\ns3://stacks/stack.tiff\nstack.tiff\n")
    job = start(tmp_path / "out", model_file, [tmp_path / "m.csv"])
    done = PartWorker(job.storage.url, "cpu").do(0)
    expected = AnomalyModel.load(model_file).score(stack)
    found = rows(job)
    names = [one.path for one in expected]
    assert [row["path"] for row in found] == [
        name.replace(str(stack), "s3://stacks/stack.tiff") for name in names
    ] + names
    assert [row["anomaly_score"] for row in found] == pytest.approx(
        [one.anomaly_score for one in expected] * 2, rel=1e-6
    )
    assert (done.images, done.rows, done.errors, done.read) == (2, 8, {}, 2 * stack.stat().st_size)


@pytest.mark.slow
@pytest.mark.usefixtures("faulty")
def test_a_part_that_was_begun_is_done_image_by_image_and_a_killer_recorded(stack, discs, model_file, tmp_path):
    killer = PngInfo()
    killer.add_text("fault", "kill")
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "killer.png", pnginfo=killer)
    images = [*sorted((discs / "abnormal").glob("*.png")), stack]
    plain = start(tmp_path / "plain", model_file, images)
    PartWorker(plain.storage.url, "cpu").do(0)
    job = start(tmp_path / "out", model_file, [images[0], tmp_path / "killer.png", *images[1:]])
    assert job.begin(0) == 0
    done = PartWorker(job.storage.url, "cpu").do(0)
    found = rows(job)
    assert "kills the process" in found.pop(1)["error"]
    assert done.errors == {"killer": 1}
    for one, other in zip(found, rows(plain), strict=True):
        assert one["path"] == other["path"]
        assert one["anomaly_score"] == pytest.approx(other["anomaly_score"], rel=1e-6)
    assert os.listdir(tmp_path / "out" / "_started") == []
    assert PartWorker(job.storage.url, "cpu").do(0) is None


@pytest.mark.slow
def test_a_part_that_kills_worker_after_worker_is_given_up(discs, model_file, tmp_path):
    job = start(tmp_path / "out", model_file, [discs / "abnormal"])
    for _ in range(MOST_BEGUN):
        job.begin(0)
    worker = PartWorker(job.storage.url, "cpu")
    with pytest.raises(MSDEError, match="20 workers died at part 0"):
        worker.do(0)
    assert worker.do(0).errors == {}  # started again, it has its tries again, guarded


def test_images_are_not_blamed_for_a_process_that_cannot_start(discs, model_file, tmp_path, monkeypatch):
    job = start(tmp_path / "out", model_file, [discs / "abnormal"])
    job.begin(0)
    worker = PartWorker(job.storage.url, "cpu")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MSDEError, match="cannot start"):
        worker.do(0)
    assert job.finished() == []


def test_an_interrupted_job_keeps_its_list_and_refuses_another(discs, model_file, tmp_path):
    listed = tmp_path / "m.csv"
    listed.write_text("path\na.png\nb.png\n")
    job = start(tmp_path / "out", model_file, [listed], 1)
    assert [job.sources(part) for part in range(job.n_parts)] == [[one] for one in sources([str(listed)])]
    assert start(tmp_path / "out", model_file, [listed], 1).about == job.about
    with pytest.raises(DataError, match="part_rows differs"):
        start(tmp_path / "out", model_file, [listed], 2)
    listed.write_text("path\na.png\n")
    with pytest.raises(DataError, match="inputs differs"):
        start(tmp_path / "out", model_file, [listed], 1)
