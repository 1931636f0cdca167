import os
from pathlib import Path

import pytest

from msde.report.names import Names


def test_paths_are_below_the_folder_in_common():
    names = Names.below(["/data/doe/a/1.png", "/data/doe/b/2.png", "/data/doe/b/v.nii.gz#003"])
    assert names.folder == "/data/doe"
    assert [names.short(f"/data/doe/{path}") for path in ("a/1.png", "b/v.nii.gz#003")] == ["a/1.png", "b/v.nii.gz#003"]


def test_relative_and_absolute_paths_have_a_folder_in_common(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = Names.below(["a/1.png", str(tmp_path / "b" / "2.png")])
    assert names.short("a/1.png") == os.path.join("a", "1.png")


@pytest.mark.parametrize("given", ["/data/doe/1.png", "/data/doe/with\nline.png"])
def test_an_error_names_no_folder_above(given):
    names = Names.below([given])
    printed = given.replace("\n", "\\n")
    text = names.shorten(f"{printed}: is no image; see /data/doe/", given)
    assert "doe" not in text
    assert text.startswith(Path(printed).name)


def test_no_paths_are_no_failure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Names.below([]).folder == str(tmp_path)
