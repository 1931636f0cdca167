from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from msde.dicom import Result, write_datasets
from msde.errors import OutputError

from .kinds import KINDS
from .sources import digital_radiograph


@pytest.fixture
def datasets(result: Result) -> list[pydicom.Dataset]:
    return [make(digital_radiograph(), result) for make in KINDS.values()]


def test_files_read_back(tmp_path: Path, datasets: list[pydicom.Dataset]) -> None:
    files = write_datasets(datasets, tmp_path / "new" / "folder")
    for file, dataset in zip(files, datasets, strict=True):
        assert file.name == f"{dataset.SOPInstanceUID}.dcm"
        stored = pydicom.dcmread(file)
        assert stored.file_meta.MediaStorageSOPInstanceUID == stored.SOPInstanceUID == dataset.SOPInstanceUID
        assert stored.StudyInstanceUID == digital_radiograph().StudyInstanceUID
    assert sorted(files) == sorted((tmp_path / "new" / "folder").iterdir())


def test_a_retry_replaces(tmp_path: Path, datasets: list[pydicom.Dataset], result: Result) -> None:
    files = write_datasets(datasets, tmp_path)
    before = [file.read_bytes() for file in files]
    assert write_datasets(datasets, tmp_path) == files
    assert [file.read_bytes() for file in files] == before
    report = KINDS["structured report"](digital_radiograph(), replace(result, text="changed"))
    assert write_datasets([report], tmp_path) == files[2:3]
    assert files[2].read_bytes() != before[2]
    assert len(list(tmp_path.iterdir())) == len(KINDS)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, datasets, monkeypatch) -> None:
    files = write_datasets(datasets, tmp_path)
    before = [file.read_bytes() for file in files]

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        write_datasets(datasets, tmp_path)
    assert [file.read_bytes() for file in files] == before
    assert len(list(tmp_path.iterdir())) == len(KINDS)


def test_a_file_that_reads_back_as_something_else_is_an_error(tmp_path: Path, datasets, monkeypatch) -> None:
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path)[:-2])
    with pytest.raises(OutputError, match="reads back as something else"):
        write_datasets(datasets, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path, datasets: list[pydicom.Dataset]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: cannot be written"):
        write_datasets(datasets, tmp_path / "file")


def test_several_may_write_the_same(tmp_path: Path, datasets: list[pydicom.Dataset]) -> None:
    with ThreadPoolExecutor(4) as threads:
        for files in threads.map(lambda _: write_datasets(datasets, tmp_path), range(8)):
            assert all(file.exists() for file in files)
    assert len(list(tmp_path.iterdir())) == len(KINDS)


def test_importing_the_package_imports_neither_library() -> None:
    code = "import sys, msde.dicom; print(sorted({'pydicom', 'highdicom'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_missing_library_is_an_error_with_a_remedy(monkeypatch, result: Result) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    for make in KINDS.values():
        with pytest.raises(OutputError, match=r"pip install 'msde\[dicom\]'"):
            make(digital_radiograph(), result)
