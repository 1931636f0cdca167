"""Heat maps, drawn and measured as a user does it."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.command import MSDE, SMALL, msde
from tests.patience import wait_until
from tests.pictures import write_discs
from tests.scores import assert_same_tables

pytestmark = pytest.mark.slow  # whole jobs


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    write_discs(root / "train", 40)
    write_discs(root / "normal", 6, seed=1)
    write_discs(root / "abnormal", 6, seed=2, lesion=True)
    mask = np.zeros((64, 64), np.uint8)
    mask[21:32, 21:32] = 255  # the square of `tests.pictures.disc`
    (root / "mask").mkdir()
    for number in range(5):
        Image.fromarray(mask).save(root / "mask" / f"{number:03}.png")
    done = msde("fit", root / "train", "-o", root / "model.msde", *SMALL)
    assert done.returncode == 0, done.stderr
    return root


def test_overlays_and_heat_beside_the_same_table(job, tmp_path):
    images = (job / "normal", job / "abnormal")
    plain = msde("score", job / "model.msde", *images)
    done = msde("score", job / "model.msde", *images, "--heatmaps", tmp_path / "heat")
    assert done.returncode == 0, done.stderr
    assert_same_tables(done.stdout, plain.stdout)
    assert len(list((tmp_path / "heat").rglob("*.overlay.png"))) == 12
    heat = {
        kind: np.asarray(Image.open(tmp_path / "heat" / kind / "000.png.heat.png")) for kind in ("normal", "abnormal")
    }
    assert heat["normal"].shape == (64, 64)
    assert heat["abnormal"][21:32, 21:32].mean() > 2 * heat["normal"].mean()
    with Image.open(tmp_path / "heat" / "abnormal" / "000.png.overlay.png") as overlay:
        assert overlay.mode == "RGB"


def test_what_was_drawn_before_a_kill_is_whole(job, tmp_path):
    many = write_discs(tmp_path / "many", 200, seed=3)
    process = subprocess.Popen(
        [MSDE, "score", job / "model.msde", many, "--heatmaps", tmp_path / "heat", "-o", tmp_path / "scores.csv"]
    )
    try:
        wait_until(lambda: len(list((tmp_path / "heat").glob("*.heat.png"))) >= 10, "ten heat maps")
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for path in (tmp_path / "heat").glob("*.png"):
        with Image.open(path) as image:
            image.load()
    (table,) = tmp_path.glob("scores.csv.*.part")
    rows = table.read_text().splitlines()[1:]
    assert 0 < len(rows) < 200
    for row in rows[:-1]:
        assert (tmp_path / "heat" / f"{Path(row.split(',')[0]).name}.overlay.png").exists()


def test_a_model_without_heat_maps_is_named_before_the_work(job, tmp_path):
    done = msde("fit", job / "train", "-o", tmp_path / "m.msde", "--no-heatmaps", *SMALL)
    assert done.returncode == 0, done.stderr
    assert os.path.getsize(tmp_path / "m.msde") < os.path.getsize(job / "model.msde") - 1_000_000
    for command in (
        ("score", tmp_path / "m.msde", job / "normal", "--heatmaps", tmp_path / "heat"),
        ("evaluate", tmp_path / "m.msde", "--normal", job / "normal", "--abnormal", job / "abnormal")
        + ("--masks", job / "mask"),
    ):
        done = msde(*command)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "the model has no heat maps" in done.stderr


def test_masks_measure_the_heat_maps(job, tmp_path):
    images = ("--normal", job / "normal", "--abnormal", job / "abnormal")
    done = msde("evaluate", job / "model.msde", *images, "--masks", job / "mask", "--json", tmp_path / "f.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["n_masks"], figures["n_regions"]) == (5, 5)
    assert figures["pixel_auroc"] > 0.85
    assert figures["pixel_ap"] > 0.03  # twice the share of marked pixels: all of so small a picture is odd
    assert figures["aupro"] > 0.3
    assert f"pixel AUROC {figures['pixel_auroc']:.3f}" in done.stdout
    assert "the 5 abnormal ones with a mask" in done.stdout


def test_a_mask_of_another_size_is_one_line(job, tmp_path):
    (tmp_path / "mask").mkdir()
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(tmp_path / "mask" / "000.png")
    images = ("--normal", job / "normal", "--abnormal", job / "abnormal")
    done = msde("evaluate", job / "model.msde", *images, "--masks", tmp_path / "mask")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"msde: {tmp_path / 'mask' / '000.png'}: has 32 x 32 pixels but 64 x 64 pixels in its image; resize it to the"
        " image's size, without interpolation"
    ]
