from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from msde.errors import ImageError
from msde.images import Part, expanded, read_pixels

from .medical import dicom_bytes, medical_files
from .pictures import gray_ramp


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii"
    path.write_bytes(medical_files()["volume.nii"])
    return path


def test_a_volume_stands_for_its_slices_and_all_else_passes(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(dicom_bytes(gray_ramp()))
    others = [tmp_path / "one.dcm", gray_ramp(), tmp_path / "missing.nii", str(tmp_path / "b.png"), 3]
    sources = list(expanded([str(volume), *others]))
    assert [str(source) for source in sources[:12]] == [f"{volume}#{k:03}" for k in range(12)]
    assert all(source is other for source, other in zip(sources[12:], others, strict=True))
    assert [str(source) for source in expanded([Path(f"{volume.parent}//./scan.nii")])] == list(map(str, sources[:12]))


def test_parts_are_looked_into_as_they_are_asked_for(volume: Path) -> None:
    sources = expanded(iter([volume, 0 / 1]))
    assert isinstance(next(sources), Part)


def test_the_name_of_a_part_finds_it_again(volume: Path) -> None:
    part = list(expanded([volume]))[4]
    assert os.fspath(part) == str(part) == f"{volume}#004"
    np.testing.assert_array_equal(read_pixels(str(part)), read_pixels(part))
    with pytest.raises(ImageError, match=r"scan\.nii#012: there is no such part among its 12 slices; count from #000"):
        read_pixels(f"{volume}#012")
    with pytest.raises(
        ImageError, match=r"scan\.nii: holds 12 slices where one is expected; name one, such as .*#000$"
    ):
        read_pixels(volume)


def test_a_file_whose_name_has_the_separator_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "a#001"
    path.write_bytes(dicom_bytes(gray_ramp()))
    (tmp_path / "a").write_bytes(b"other")
    np.testing.assert_array_equal(read_pixels(path), read_pixels(gray_ramp()))
