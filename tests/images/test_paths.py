from __future__ import annotations

import os
from pathlib import Path

import pytest

from msde.errors import DataError
from msde.images import find_images

FILES = [
    *("a/1.png", "a/2.JPG", "a/10.tif", "a/notes.txt", "a/.hidden.png", "a/.git/x.png"),
    *("b/deep/er/3.png", "b/4.webp", "README", "odd/[x].png"),
]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out a tree of empty files, and make it the current folder."""
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*entries: str | Path) -> list[str]:
    return [path.as_posix() for path in find_images(entries)]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("a", "a/1.png a/10.tif a/2.JPG"),
        ("a/", "a/1.png a/10.tif a/2.JPG"),
        ("b", "b/4.webp b/deep/er/3.png"),
        (".", "a/1.png a/10.tif a/2.JPG b/4.webp b/deep/er/3.png odd/[x].png"),
        ("**", "a/1.png a/10.tif a/2.JPG b/4.webp b/deep/er/3.png odd/[x].png"),
        ("*", "a/1.png a/10.tif a/2.JPG b/4.webp b/deep/er/3.png odd/[x].png"),
        ("**/*.png", "a/1.png b/deep/er/3.png odd/[x].png"),
        ("b/**/*.png", "b/deep/er/3.png"),
        ("b/**", "b/4.webp b/deep/er/3.png"),
        ("**/er/*", "b/deep/er/3.png"),
        ("*/*.png", "a/1.png odd/[x].png"),
        ("a/[12]*", "a/1.png a/10.tif a/2.JPG"),
        ("a/?.png", "a/1.png"),
        ("d*e*", None),
        ("b/d*", "b/deep/er/3.png"),
        ("a/.h*", "a/.hidden.png"),
        ("odd/[x].png", "odd/[x].png"),
        ("README", "README"),
        ("a/.hidden.png", "a/.hidden.png"),
        ("a/.git", "a/.git/x.png"),
    ],
)
def test_files_folders_and_globs(tree: Path, entry: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(DataError):
            found(entry)
    else:
        assert found(entry) == expected.split()


def test_absolute_patterns(tree: Path) -> None:
    assert found(tree / "*" / "1.png") == [(tree / "a/1.png").as_posix()]


def test_entries_keep_their_order_and_each_file_comes_once(tree: Path) -> None:
    (tree / "link.png").symlink_to(tree / "a" / "1.png")
    assert found("b", "a/2.JPG", "a", tree / "a", "link.png") == [
        "b/4.webp",
        "b/deep/er/3.png",
        "a/2.JPG",
        "a/1.png",
        "a/10.tif",
    ]


def test_hard_links_are_two_files(tree: Path) -> None:
    os.link("a/1.png", "a/3.png")
    assert found("a/?.png") == ["a/1.png", "a/3.png"]


@pytest.mark.parametrize("entry", [".", "**", "**/*.png", "**/**/*.png", "*/**"])
def test_link_loops_end(tree: Path, entry: str) -> None:
    for name in ("a/loop", "b/loop", "b/deep/up", "b/deep/er/top"):
        (tree / name).symlink_to(tree, target_is_directory=True)
    (tree / "self").symlink_to("self")
    real = {os.path.realpath(path) for path in found(entry)}
    assert os.path.realpath("b/deep/er/3.png") in real
    assert len(real) == len(found(entry))


def test_linked_folders_are_searched(tree: Path) -> None:
    (tree / "c").mkdir()
    (tree / "c" / "linked").symlink_to(tree / "b", target_is_directory=True)
    assert found("c") == ["c/linked/4.webp", "c/linked/deep/er/3.png"]


def test_broken_links_are_left_to_the_reader(tree: Path) -> None:
    (tree / "a" / "0.png").symlink_to(tree / "gone.png")
    assert found("a/*.png") == ["a/0.png", "a/1.png"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("missing", "^missing: no such file or folder; check"),
        ("a/1.png/x", "^a/1.png/x: no such file or folder; check"),
        ("a\0b", "no such file or folder"),
        ("x" * 5000, "no such file or folder"),
        ("empty", r"^empty: the folder is empty \(looked for .*\.png.*\); give a folder with images$"),
        ("text", r"^text: the folder holds 2 files but no image \(looked for .*\); give"),
        ("text/one", r"holds 1 file but no image"),
        ("*.dcm", r"^\*\.dcm: the pattern matches no image \(looked for .*\); check the pattern$"),
        ("missing/*.png", "the pattern matches no image"),
        ("text/*", "the pattern matches no image"),
    ],
)
def test_nothing_found_is_one_line_with_path_and_remedy(tree: Path, entry: str, said: str) -> None:
    (tree / "empty").mkdir()
    (tree / "text" / "one").mkdir(parents=True)
    (tree / "text" / "one" / "a.txt").touch()
    (tree / "text" / "b.csv").touch()
    with pytest.raises(DataError, match=said) as error:
        found("a", entry)
    assert "\n" not in str(error.value)


def test_no_entry_at_all() -> None:
    with pytest.raises(DataError, match="^no path given; name"):
        find_images([])


def test_a_folder_that_may_not_be_listed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refused)  # the superuser may list everything
    with pytest.raises(DataError, match=r"^a: cannot be listed \(Permission denied\); check its permissions$"):
        find_images(["a"])
