"""Zips that are a burden are refused before anything of them is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.serve.errors import ServiceError, TooLarge
from msde.serve.intake.zips import unpack
from msde.serve.settings import Settings

LIMITS = Settings("", (), files=10, unpacked_bytes=100_000)
CONTENT = zlib.compress(bytes(50_000))[2:-4]


def opened(content: bytes, folder: Path, limits: Settings = LIMITS) -> dict[Path, str]:
    path = folder / "a.zip"
    path.write_bytes(content)
    return unpack(path, folder / "unpacked", limits, lambda name: "")


def zip_of(starts: Iterable[int]) -> bytes:
    """Write a zip whose files begin where they are said to, each with the same content."""
    places = list(starts)
    crc = zlib.crc32(bytes(50_000))
    body, entries = bytearray(), b""
    for start in places:
        head = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 33, crc, len(CONTENT), 50_000, 1, 0) + b"a"
        body.extend(bytes(max(0, start + len(head) + len(CONTENT) - len(body))))
        body[start : start + len(head) + len(CONTENT)] = head + CONTENT
        facts = (b"PK\x01\x02", 20, 20, 0, 8, 0, 33, crc, len(CONTENT), 50_000, 1, 0, 0, 0, 0, 0, start)
        entries += struct.pack("<4s6H3I5H2I", *facts) + b"a"
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, len(places), len(places), len(entries), len(body), 0)
    return bytes(body) + entries + end


def test_files_one_behind_the_other_are_unpacked(tmp_path: Path) -> None:
    assert sorted(opened(zip_of([0, 1000]), tmp_path).values()) == ["a", "a"]


@pytest.mark.parametrize("name", [b"\0", b"/"])
def test_a_file_without_a_name_is_left_out(tmp_path: Path, name: bytes) -> None:
    content = zip_of([0, 1000])
    assert list(opened(content[:-23] + name + content[-22:], tmp_path).values()) == ["a"]


@pytest.mark.parametrize("starts", [[0, 0], [0, 40], [0] * 10])
def test_files_that_overlap_are_refused_and_nothing_is_unpacked(tmp_path: Path, starts: list[int]) -> None:
    with pytest.raises(ServiceError, match="overlap"):
        opened(zip_of(starts), tmp_path)
    assert not (tmp_path / "unpacked").exists()


def test_what_is_stated_to_be_too_much_is_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="holds more than may be unpacked"):
        opened(zip_of([0, 1000, 2000]), tmp_path)
    assert not (tmp_path / "unpacked").exists()


def listed(n: int) -> bytes:
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    return entry * n


def ends(n: int) -> dict[str, bytes]:
    """Give ends of a zip whose list has n files, as a reader of the last records may misread them."""
    size, offset = 47 * n, 0
    plain = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, min(n, 0xFFFF), min(n, 0xFFFF), size, offset, 0)
    # The numbers of disks spell the signature again, so a search from the end finds a record four bytes too late.
    spelt = b"PK\x05\x06" + b"PK\x05\x06" + plain[8:]
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, n, n, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, size, 1)
    low = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 0, 0, 0)
    return {
        "plain": plain,
        "spelt": spelt,
        "zip64 behind a low record": record + locator + low,
    }


@pytest.mark.parametrize("kind", ends(0))
def test_a_list_of_a_million_files_is_refused_whatever_its_last_records_say(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ServiceError):
        opened(listed(1_000_000) + ends(1_000_000)[kind], tmp_path, Settings("", (), files=5_000))
    assert not (tmp_path / "unpacked").exists()


@pytest.mark.parametrize("kind", ["plain", "spelt", "zip64 behind a low record"])
def test_no_more_of_a_list_is_read_than_files_are_allowed(tmp_path: Path, kind: str, monkeypatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(zipfile.ZipInfo, "_decodeExtra", lambda info, *_: made.append(info))
    with pytest.raises(ServiceError):
        opened(listed(1_000) + ends(1_000)[kind], tmp_path)
    assert made == []


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_changed_in_a_zip_it_is_unpacked_within_the_limits_or_refused(tmp_path_factory, data) -> None:
    content = bytearray(zip_of([0, 1000]))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("zip")
    try:
        names = opened(bytes(content), folder)
    except ServiceError:
        return
    assert sum(path.stat().st_size for path in names) <= LIMITS.unpacked_bytes
