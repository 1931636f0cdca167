from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import BasicTextSRStorage

from msde.errors import DataError
from msde.images import ImageRule, Part, find_images, read_pixels

from .medical import ct_slice, dicom_bytes, dicom_dataset, medical_files, nifti_bytes, pydicom_file, saved
from .pictures import encoded, gray_ramp

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
    return [Path(source).as_posix() for source in find_images(entries)]


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
        ("*.xyz", r"^\*\.xyz: the pattern matches no image \(looked for .*\); check the pattern$"),
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


def keep(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def series(uid: str, depths: list[float], **elements: object) -> list[bytes]:
    return [ct_slice(gray_ramp() + np.uint8(k), depth, uid, k, **elements) for k, depth in enumerate(depths)]


def test_a_series_is_a_volume_in_the_order_of_its_places(tmp_path: Path) -> None:
    first, second, third = series("1.2.3", [30, -10, 5])
    folder = keep(tmp_path / "ct", IM1=first, IM2=second, IM3=third, notes=b"text")
    sources = find_images([folder])
    assert [str(source) for source in sources] == [
        f"{folder}#{name}" for name in ("IM1", "IM3", "IM2")
    ]  # from the head
    assert {source.volume for source in sources if isinstance(source, Part)} == {str(folder)}
    np.testing.assert_array_equal(read_pixels(sources[2]), read_pixels(gray_ramp() + np.uint8(1)))
    np.testing.assert_array_equal(read_pixels(str(sources[0])), read_pixels(sources[0]))


@pytest.mark.slow
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("axis", "turned"),
    [(2, [1, 0, 0, 0, 1, 0]), (1, [1, 0, 0, 0, 0, -1]), (0, [0, 1, 0, 0, 0, -1])],
    ids=["axial", "coronal", "sagittal"],
)
def test_a_series_and_the_same_volume_as_nifti_have_their_slices_in_one_order(
    tmp_path: Path, axis: int, turned: list[int], flip: bool
) -> None:
    volume = np.random.default_rng(axis).integers(0, 256, (20, 24, 28), np.uint8)  # to left, posterior and head
    steps = np.where(np.arange(3) == axis, 4.0, 1.0)
    (tmp_path / "scan.nii").write_bytes(nifti_bytes(volume, np.diag([-1, -1, 1, 1]) @ np.diag([*steps, 1])))
    order = range(volume.shape[axis])
    for number, k in enumerate(reversed(order) if flip else order):
        plane = volume.take(k, axis).T if axis == 2 else volume.take(k, axis).T[::-1]
        place = [4.0 * k if side == axis else 0.0 for side in range(3)]
        content = ct_slice(plane, 0, "1.2.3", number, turned=turned, ImagePositionPatient=place)
        keep(tmp_path / "series", **{f"IM{number:02}": content})
    as_series, as_nifti = (
        [read_pixels(part, ImageRule("full-range")) for part in find_images([tmp_path / name])]
        for name in ("series", "scan.nii")
    )
    np.testing.assert_array_equal(np.stack(as_series), np.stack(as_nifti))


def test_slices_given_one_by_one_are_a_volume_too(tmp_path: Path) -> None:
    first, second = series("1.2.3", [30, -10])
    folder = keep(tmp_path / "ct", a=first, b=second)
    assert found(folder / "a", folder / "b") == [f"{folder}#a", f"{folder}#b"]


def test_mixed_series_are_told_apart(tmp_path: Path) -> None:
    one, two = series("1.2.3", [1, 2]), series("4.5.6", [2, 1])
    (localiser,) = series("1.2.3", [7], turned=[0, 1, 0, 0, 0, -1])
    (alone,) = series("7.8.9", [1])
    folder = keep(tmp_path / "all", a=one[0], b=two[0], c=one[1], d=two[1], e=localiser, f=alone)
    expected = [f"{folder}/series-1#c", f"{folder}/series-1#a", f"{folder}/series-2#b", f"{folder}/series-2#d"]
    assert found(folder) == [*expected, f"{folder}/e", f"{folder}/f"]


def test_views_without_a_place_are_images(tmp_path: Path) -> None:
    views = [dicom_bytes(gray_ramp(), SeriesInstanceUID="1.2.3") for _ in range(2)]
    folder = keep(tmp_path / "cr", a=views[0], b=views[1])
    assert found(folder) == [f"{folder}/a", f"{folder}/b"]


def test_pictures_and_dicom_in_one_folder(tmp_path: Path) -> None:
    report = dicom_dataset(gray_ramp())
    del report.Rows
    report.SOPClassUID = BasicTextSRStorage
    files = {
        "a.png": encoded(Image.fromarray(gray_ramp()), "PNG"),
        "b": dicom_bytes(gray_ramp()),
        "c.dcm": saved(report),
    }
    files |= {"1.2.840.77": dicom_bytes(gray_ramp()), "d.txt": dicom_bytes(gray_ramp()), "e": b"text", "f.12": b""}
    folder = keep(tmp_path / "mixed", **files)
    assert found(folder) == [f"{folder}/{name}" for name in ("1.2.840.77", "a.png", "b")]
    assert found(folder / "d.txt", folder / "c.dcm") == [f"{folder}/d.txt", f"{folder}/c.dcm"]
    with pytest.raises(DataError, match="holds 1 file but no image"):
        find_images([keep(tmp_path / "reports", **{"c.dcm": saved(report)})])


def test_volumes_frames_and_pages_are_listed_by_their_parts(tmp_path: Path) -> None:
    files = medical_files()
    pages = [Image.fromarray(np.roll(gray_ramp(), k, axis=0)) for k in range(2)]
    files["pages.tif"] = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    folder = keep(tmp_path / "all", **files)
    counts = {"frames.dcm": 3, "pages.tif": 2, "two.nii": 12, "volume.nii": 12, "volume.nii.gz": 12}
    expected = []
    for name in sorted(files):
        expected += [f"{folder}/{name}#{k:03}" for k in range(counts[name])] if name in counts else [f"{folder}/{name}"]
    assert found(folder) == expected


def test_damaged_files_are_left_to_the_reader(tmp_path: Path) -> None:
    names = ("a.dcm", "b.nii", "c.nii.gz", "d.tif")
    folder = keep(tmp_path / "bad", **dict.fromkeys(names, b"II*\x00 no image"))
    assert found(folder) == [f"{folder}/{name}" for name in names]
    folder = keep(tmp_path / "cut", IM1=dicom_bytes(gray_ramp())[:500], **{"IM2.dcm": b"encrypted" * 99})
    assert found(folder) == [f"{folder}/IM1", f"{folder}/IM2.dcm"]


def test_a_medium_with_a_directory_is_searched() -> None:
    sources = find_images([pydicom_file("DICOMDIR").parent / "98892001"])
    assert {Path(source.volume).name for source in sources if isinstance(source, Part)} == {"CT5N"}
    assert len(sources) == 7
