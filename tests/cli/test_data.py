"""`msde data`, as a user runs it."""

import json
from pathlib import Path

import pytest
from tests.command import msde
from tests.datasets import layouts
from tests.datasets.server import serving


def test_check_tells_and_writes_what_it_found(tmp_path):
    root = layouts.brats(tmp_path / "BraTS2021")
    done = msde("data", "check", root, "--json", tmp_path / "found.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("BraTS2021: layout 'BraTS2021'\n  train       4 normal\n")
    assert "warning: 4 + 3 + 2 images to train on, normal and abnormal, where 4211 + 828 + 1948 are" in done.stdout
    figures = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert figures["n_masks"] == 2
    assert figures["published"] == [4211, 828, 1948]


def test_the_images_of_a_set_are_listed_for_other_commands(tmp_path):
    root = layouts.brats(tmp_path / "BraTS2021")
    for split, n in (("train", 4), ("normal", 3), ("abnormal", 2)):
        done = msde("data", "list", root, split)
        assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", n)
        assert all(Path(line).is_file() for line in done.stdout.splitlines())
    done = msde("data", "list", layouts.medmnist(tmp_path / "pneumoniamnist.npz"), "train")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no files of their own" in done.stderr


def test_check_leaves_with_3_where_an_image_cannot_be_read(tmp_path):
    root = layouts.plain(tmp_path / "set")
    (root / "test/normal/bad.png").write_bytes(b"no picture")
    done = msde("data", "check", root)
    assert done.returncode == 3
    assert "bad.png" in done.stderr
    assert "test        4 normal" in done.stdout


def test_check_takes_labels_of_normals(tmp_path):
    path = layouts.medmnist(tmp_path / "bloodmnist.npz", labels=(0, 1, 2, 2, 1))
    done = msde("data", "check", path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    done = msde("data", "check", path, "--normal", "1,2")
    assert "train       4 normal" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["check", "gone"], ["fetch", "gone"], ["fetch", "RSNA", "--mirror", "http://127.0.0.1:9"]]
)
def test_what_cannot_be_done_is_one_line(tmp_path, arguments):
    done = msde("data", *arguments, *(["-o", tmp_path] if arguments[0] == "fetch" else []))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("msde: ")


def test_fetch_refuses_what_is_not_the_published_archive(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "RSNA.tar.gz").write_bytes(b"another archive")
    with serving(tmp_path / "served") as server:
        done = msde("data", "fetch", "RSNA", "-o", tmp_path / "sets", "--mirror", server.url)
    assert done.returncode == 1
    assert "not the published file (its MD5 differs)" in done.stderr
    assert "https://" in done.stdout
    assert list((tmp_path / "sets").iterdir()) == []
