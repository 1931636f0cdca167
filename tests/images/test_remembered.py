"""What is remembered of files, and that it is let go of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from msde import images
from msde.images.remembered import Remembering, forget


def counting(most: int) -> tuple[Remembering[[str, int], str], list[str]]:
    calls: list[str] = []

    def read(path: str, number: int) -> str:
        calls.append(path)
        if path == "/damaged":
            raise ZeroDivisionError
        return f"{path} {number}"

    return Remembering(read, most), calls


def test_the_latest_results_are_remembered_and_no_failure_is():
    read, calls = counting(2)
    assert [read("/a", 1), read("/b", 1), read("/a", 1), read("/c", 1), read("/a", 1)][-1] == "/a 1"
    assert calls == ["/a", "/b", "/c"]
    read("/b", 1)
    assert calls == ["/a", "/b", "/c", "/b"]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            read("/damaged", 1)
    assert calls.count("/damaged") == 2


def test_what_begins_so_is_forgotten_by_all():
    (one, of_one), (other, of_other) = counting(9), counting(9)

    def read_all() -> None:
        for path in ("/data/ab.png", "/data/ab.series/0", "/data/ac.png"):
            one(path, 1)
            other(path, 2)

    read_all()
    forget("/data/ab")
    read_all()
    assert of_one[3:] == of_other[3:] == ["/data/ab.png", "/data/ab.series/0"]


def test_nothing_of_a_file_is_remembered_where_it_cannot_be_forgotten():
    package = Path(images.__file__).parent
    others = {
        path.name for path in package.glob("*.py") if re.search(r"\b(lru_cache|cache)\(", path.read_text("utf-8"))
    }
    assert others == {"paths.py"}  # which remembers for as long as it lists a folder
