from __future__ import annotations

import pytest

from msde.images.formats import FORMATS, MIRAX, SIGNATURE_BYTES, SUFFIXES, by_suffix, recognise

from .medical import medical_files
from .pictures import small_files

FILES = small_files() | medical_files()


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_recognised_by_its_first_bytes_and_has_a_listed_suffix(name: str) -> None:
    form = recognise(FILES[name][:SIGNATURE_BYTES])
    assert form is not None
    assert by_suffix(name) is form


def test_every_format_is_covered_by_a_file() -> None:
    assert {recognise(data[:SIGNATURE_BYTES]) for data in FILES.values()} == set(FORMATS) - {MIRAX}


@pytest.mark.parametrize(
    "head", [b"", b"%PDF-1.7", b"%!PS-Adobe", b"<html>", bytes(16), b"RIFF1234WAVEfmt ", b"PK\3\4"]
)
def test_other_files_are_not_recognised(head: bytes) -> None:
    assert recognise(head) is None


def test_suffixes_are_lower_case_and_of_one_format_each() -> None:
    listed = [suffix for form in FORMATS for suffix in form.suffixes]
    assert sorted(listed) == sorted(SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in listed)
