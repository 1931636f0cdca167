"""`msde learn`: a model, verdicts and folders in, a new model and what it changes out."""

import csv
import hashlib
import json
import shutil

import pytest
from tests.command import msde
from tests.pictures import write_discs

from msde import AnomalyModel


@pytest.fixture(scope="module")
def job(plain_model, tmp_path_factory):
    """A model, and a folder of images that came in, of which some have verdicts."""
    root = tmp_path_factory.mktemp("job")
    plain_model.save(root / "model.msde")
    write_discs(root / "train", 40)
    for kind, seed in (("normal", 1), ("abnormal", 2)):
        write_discs(root / kind, 8, seed, lesion=kind == "abnormal")
    (root / "came").mkdir()
    for kind in ("normal", "abnormal"):
        for path in (root / kind).iterdir():
            shutil.copy(path, root / "came" / f"{kind}-{path.name}")
    return root


def said(path, verdicts, reader="anna"):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "digest", "verdict", "reader", "p_value"])
        for image, word in verdicts:
            of_file = hashlib.sha256(image.read_bytes()).hexdigest()
            writer.writerow([f"at the service {image.name}", of_file, word, reader, ""])
    return path


def learn(job, tmp_path, verdicts, *further):
    said(tmp_path / "verdicts.csv", verdicts)
    return msde(
        *("learn", job / "model.msde", "-o", tmp_path / "new.msde", "--verdicts", tmp_path / "verdicts.csv"),
        *("--images", job / "came", "--normals", job / "train", *further),
        MSDE_CACHE=str(job / "cache"),
    )


def images(job, kind, n):
    return [(path, kind) for path in sorted((job / kind).iterdir())[:n]]


@pytest.mark.slow
def test_it_learns_and_tells_what_that_changes(job, tmp_path):
    done = learn(
        job, tmp_path, images(job, "normal", 3) + images(job, "abnormal", 4), "--json", tmp_path / "comparison.json"
    )
    assert done.returncode == 0, done.stderr
    assert "7 images with verdicts, 3 normal and 4 abnormal, of 7 patients" in done.stdout
    assert "AUROC after less before" in done.stdout
    assert "fitted on 43 normal images\nand on 4 labelled abnormal images of 4 patients" in done.stdout
    assert "the patients of the images with verdicts are not known" in done.stderr
    assert "3 normal and 4 abnormal images are few" in done.stderr
    figures = json.loads((tmp_path / "comparison.json").read_text())
    assert figures["old"]["roc"][-1] == [1, 1]
    assert (figures["n_normal"], figures["n_abnormal"]) == (3, 4)
    model = AnomalyModel.load(tmp_path / "new.msde")
    assert model.info()["mode"] == "labelled"
    evidence = [score.evidence for score in model.score(sorted((job / "abnormal").iterdir())[4:])]
    assert any("like the abnormal images you labelled" in str(words) for words in evidence)


@pytest.mark.slow
def test_what_is_contradicted_unsure_or_not_there_is_told_and_left_out(job, tmp_path):
    verdicts = images(job, "normal", 2) + images(job, "abnormal", 3)
    path = said(
        tmp_path / "v.csv", [*verdicts, (job / "abnormal" / "003.png", "unsure"), (job / "model.msde", "normal")]
    )
    with path.open("a") as file:
        file.write(f"x,{hashlib.sha256((job / 'abnormal' / '000.png').read_bytes()).hexdigest()},normal,ben,\n")
    done = msde(
        *("learn", job / "model.msde", "-o", tmp_path / "new.msde", "--verdicts", path),
        *("--images", job / "came", "--normals", job / "train"),
        MSDE_CACHE=str(job / "cache"),
    )
    assert done.returncode == 0, done.stderr
    assert (
        "1 images are left out, which one reader calls normal and another abnormal: x (anna: abnormal, ben: normal)"
        in (done.stderr)
    )
    assert "1 images are left out, of which readers are unsure" in done.stderr
    assert "1 images with verdicts are not there as single files" in done.stderr
    assert "4 images with verdicts, 2 normal and 2 abnormal" in done.stdout


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        (("abnormal", 3, "normal", 0), "verdicts call 3 images of 3 patients abnormal and 0 normal"),
        (("abnormal", 1, "normal", 3), "verdicts call 1 images of 1 patients abnormal and 3 normal"),
    ],
)
def test_too_few_are_one_line_of_an_error_and_no_model(job, tmp_path, verdicts, reason):
    one, n, other, m = verdicts
    done = learn(job, tmp_path, images(job, one, n) + images(job, other, m))
    assert done.returncode == 1
    assert reason in done.stderr.splitlines()[-1]
    assert not (tmp_path / "new.msde").exists()


def test_an_abnormal_image_among_the_normals_is_refused(job, tmp_path):
    wrong = job / "train" / "000.png"
    shutil.copy(wrong, job / "came" / "wrong.png")
    done = learn(job, tmp_path, [*images(job, "normal", 2), *images(job, "abnormal", 3), (wrong, "abnormal")])
    (job / "came" / "wrong.png").unlink()
    assert done.returncode == 1
    assert "1 labelled abnormal images are among the normals" in done.stderr


def test_verdicts_on_one_patient_alone_are_refused(job, tmp_path):
    verdicts = images(job, "normal", 3) + images(job, "abnormal", 4)
    done = learn(job, tmp_path, verdicts, "--patient", r"train/\d\d|abnormal|normal")
    assert done.returncode == 1
    assert "4 images of 1 patients abnormal" in done.stderr


@pytest.mark.slow
def test_images_of_another_kind_are_told_with_the_figure(job, tmp_path):
    from PIL import Image, ImageOps

    (tmp_path / "other").mkdir()
    verdicts = images(job, "normal", 3)
    for number in range(3):
        with Image.open(job / "abnormal" / f"{number:03}.png") as image:
            ImageOps.invert(image.convert("L")).save(tmp_path / "other" / f"{number}.png")
        verdicts.append((tmp_path / "other" / f"{number}.png", "abnormal"))
    done = learn(job, tmp_path, verdicts, "--images", tmp_path / "other")
    assert done.returncode == 0, done.stderr
    assert (
        "times as far from the normals as held-out normals do (median): look whether they are of the same modality"
        in (done.stderr)
    )
