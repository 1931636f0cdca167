"""Labelled abnormal images on the command line: bad ones, and the nearest of them in a report."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.command import SMALL, msde
from tests.pictures import write_discs
from tests.report.test_page import Tree


@pytest.fixture(scope="module")
def fit(discs, tmp_path_factory):
    """Fit to the discs and labels, with embeddings that all tests here share."""
    cache = tmp_path_factory.mktemp("cache")

    def fitted(model: Path, *options: object, normals: tuple[object, ...] = (discs / "train",)):
        return msde("fit", *normals, "-o", model, "--no-heatmaps", *options, *SMALL, MSDE_CACHE=str(cache))

    return fitted


@pytest.fixture(scope="module")
def labelled(fit, discs, tmp_path_factory) -> Path:
    """The file of a model that learnt from six squares."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "kinds.csv").write_text(f"path,kind\n{discs / 'abnormal'},bright <square>\n")
    abnormal = [f"--abnormal={path}" for path in sorted((discs / "abnormal").iterdir())[:6]]
    done = fit(folder / "m.msde", *abnormal, "--kinds", folder / "kinds.csv")
    assert done.returncode == 0, done.stderr
    return folder / "m.msde"


def refused(done, model: Path) -> str:
    assert done.returncode == 1
    assert not model.exists()
    assert done.stderr.count("\n") <= 2, done.stderr  # the reason, and what the cache did
    return done.stderr


def test_pixels_of_a_normal_are_refused_under_any_name(fit, discs, tmp_path):
    shutil.copy(discs / "train" / "003.png", tmp_path / "found.png")
    model = tmp_path / "m.msde"
    said = refused(fit(model, "--abnormal", tmp_path / "found.png", "--abnormal", discs / "abnormal"), model)
    assert "1 labelled abnormal images are among the normals" in said
    assert f"{tmp_path / 'found.png'} is {discs / 'train' / '003.png'}" in said


@pytest.mark.slow
def test_copies_of_an_image_with_several_kinds_are_refused(fit, discs, tmp_path):
    folder = tmp_path / "abnormal"
    shutil.copytree(discs / "abnormal", folder)
    shutil.copy(folder / "000.png", folder / "again.png")
    (tmp_path / "kinds.csv").write_text("path,kind\nabnormal,spot\nabnormal/again.png,square\n")
    model = tmp_path / "m.msde"
    said = refused(fit(model, "--abnormal", folder, "--kinds", tmp_path / "kinds.csv"), model)
    assert f"{folder / '000.png'} is spot but {folder / 'again.png'} is square" in said
    (tmp_path / "kinds.csv").write_text("path,kind\nabnormal/again.png,spot\n")
    done = fit(model, "--abnormal", folder, "--kinds", tmp_path / "kinds.csv")
    assert "and on 12 labelled abnormal images of 12 patients: 1 spot" in done.stdout
    assert "1 exact copies of other images are left out" in done.stdout
    assert "the kind of 11 of 12 labelled abnormal images is not given" in done.stderr


def test_a_path_with_two_kinds_is_refused(fit, discs, tmp_path):
    path = discs / "abnormal" / "000.png"
    (tmp_path / "kinds.csv").write_text(f"path,kind\n{path},spot\n{path},square\n")
    model = tmp_path / "m.msde"
    said = refused(fit(model, "--abnormal", discs / "abnormal", "--kinds", tmp_path / "kinds.csv"), model)
    assert "line 3:" in said
    assert "is in another kind before" in said


def test_kinds_of_none_of_the_images_are_refused(fit, discs, tmp_path):
    (tmp_path / "kinds.csv").write_text(f"path,kind\n{discs / 'normal'},spot\n")
    model = tmp_path / "m.msde"
    said = refused(fit(model, "--abnormal", discs / "abnormal", "--kinds", tmp_path / "kinds.csv"), model)
    assert "tells the kind of none of the 12 abnormal images" in said


def test_a_calibration_on_labelled_images_is_refused(labelled, discs, tmp_path):
    model = tmp_path / "m.msde"
    said = refused(msde("calibrate", labelled, discs / "abnormal", "-o", model), model)
    assert "6 of the calibration images were labelled abnormal at the fit" in said


def test_one_patient_and_a_kind_of_one_image_are_told(fit, discs, tmp_path):
    (tmp_path / "kinds.csv").write_text(f"path,kind\n{discs / 'abnormal' / '000.png'},spot\n")
    images = ("--abnormal", discs / "abnormal" / "000.png", "--kinds", tmp_path / "kinds.csv")
    done = fit(tmp_path / "m.msde", *images)
    assert done.returncode == 0, done.stderr
    assert "all labelled abnormal images are of one patient" in done.stderr
    assert "of spot only one image is labelled" in done.stderr


def test_several_images_of_one_patient_are_told(fit, discs, tmp_path):
    done = fit(tmp_path / "m.msde", "--abnormal", discs / "abnormal", "--patient", r"abnormal|train/\d+")
    assert "and on 12 labelled abnormal images of 1 patient" in done.stdout
    assert "all labelled abnormal images are of one patient" in done.stderr


@pytest.mark.slow
def test_more_labels_than_normals_are_told(fit, discs, tmp_path):
    normals = sorted((discs / "train").iterdir())[:20]
    more = write_discs(tmp_path / "more", 9, seed=7, lesion=True)
    done = fit(tmp_path / "m.msde", "--abnormal", discs / "abnormal", "--abnormal", more, normals=(*normals,))
    assert done.returncode == 0, done.stderr
    assert "there are more labels than normals" in done.stderr


def test_too_few_normals_are_refused(fit, discs, tmp_path):
    model, normals = tmp_path / "m.msde", sorted((discs / "train").iterdir())[:19]
    said = refused(fit(model, "--abnormal", discs / "abnormal", normals=(*normals,)), model)
    assert "19 normals are too few to learn from labelled abnormal images beside them; give at least 20" in said


@pytest.mark.slow
def test_labels_of_another_modality_are_told_with_the_figure(fit, tmp_path, rng):
    (tmp_path / "other").mkdir()
    for number in range(3):
        noise = rng.integers(0, 256, size=(64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "other" / f"{number}.png")
    done = fit(tmp_path / "m.msde", "--abnormal", tmp_path / "other")
    assert done.returncode == 0, done.stderr
    found = re.search(r"lie ([\d.]+) times as far from the normals as held-out normals do", done.stderr)
    assert found
    assert float(found[1]) > 1.6
    assert "same modality" in done.stderr


@pytest.mark.slow
def test_a_report_shows_the_labelled_image_most_like_each(labelled, discs, tmp_path):
    images = sorted((discs / "abnormal").iterdir())
    done = msde(
        *("report", labelled, *images[6:9], "-o", tmp_path / "r.html"),
        *("--normals", discs / "train", "--abnormal", discs / "abnormal"),
    )
    assert done.returncode == 0, done.stderr
    assert "the model did not learn from 6 of the images of --abnormal, such as " in done.stderr
    tree = Tree((tmp_path / "r.html").read_text(encoding="utf-8"))
    nearest = [attributes["data-labelled"].split() for _, attributes in tree.tags if "data-labelled" in attributes]
    assert [len(numbers) for numbers in nearest] == [1, 1, 1]
    shown = {attributes.get("id") for _, attributes in tree.tags}
    assert {f"labelled-{number}" for numbers in nearest for number in numbers} <= shown
    assert "bright <square>" in tree.text
    assert "6 images that the model learnt from" in tree.text


@pytest.mark.slow
def test_a_model_without_labels_has_none_to_compare_with(fit, discs, tmp_path):
    fit(tmp_path / "m.msde")
    options = ("-o", tmp_path / "r.html", "--abnormal", discs / "abnormal")
    done = msde("report", tmp_path / "m.msde", discs / "normal", *options)
    assert done.returncode == 1
    assert "the model learnt from no labelled abnormal images" in done.stderr
    assert not (tmp_path / "r.html").exists()
