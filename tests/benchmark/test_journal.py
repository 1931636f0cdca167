import pytest

from msde.benchmark.journal import Journal, current, read_journal
from msde.errors import DataError, OutputError


def test_lines_come_back_and_half_a_line_is_cut_off(tmp_path):
    path = tmp_path / "cells.jsonl"
    assert read_journal(path) == []
    with Journal(path) as journal:
        journal.append({"key": "a", "auroc": 0.5})
    with path.open("a") as file:
        file.write('{"key": "b", "au')
    assert read_journal(path) == [{"key": "a", "auroc": 0.5}]
    with Journal(path) as journal:
        journal.append({"key": "c"})
    assert [line["key"] for line in read_journal(path)] == ["a", "c"]


def test_the_last_line_of_a_key_holds(tmp_path):
    lines = [{"key": "a", "n": 1}, {"key": "b", "n": 2}, {"key": "a", "n": 3}]
    assert current(lines, ["b", "a", "c"]) == [lines[1], lines[2]]


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "cells.jsonl"
    path.write_text('{"key": "a"}\nhello\n')
    with pytest.raises(DataError, match="line 2"):
        read_journal(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), Journal(tmp_path / "none" / "cells.jsonl"):
        pass
