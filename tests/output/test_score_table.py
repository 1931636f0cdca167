import csv
import json
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.errors import OutputError
from msde.model.score import ImageScore
from msde.output.score_table import check_table, csv_row, encodable, write_json, write_lines, write_table

NAN = float("nan")
SCORES = [
    ImageScore("a/ü,1.png", 1.5, 0.25, False, None),
    ImageScore("b.png", 9.0, 0.01, True, None),
    ImageScore("c.png", NAN, NAN, None, "c.png: is no image"),
]


def test_the_columns_are_the_documented_ones(tmp_path):
    write_table([], tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "path,anomaly_score,p_value,flagged,error\n"


def test_csv(tmp_path):
    write_table(SCORES, tmp_path / "s.csv")
    with open(tmp_path / "s.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"path": "a/ü,1.png", "anomaly_score": "1.5", "p_value": "0.25", "flagged": "false", "error": ""}
    assert rows[2] == {
        "path": "c.png",
        "anomaly_score": "",
        "p_value": "",
        "flagged": "",
        "error": "c.png: is no image",
    }


def test_json_lines(tmp_path):
    write_table(SCORES, tmp_path / "s.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[1] == {"path": "b.png", "anomaly_score": 9.0, "p_value": 0.01, "flagged": True, "error": None}
    assert rows[2]["anomaly_score"] is None


def test_parquet(tmp_path):
    from pyarrow import parquet

    write_table(SCORES, tmp_path / "s.parquet")
    rows = parquet.read_table(tmp_path / "s.parquet").to_pylist()
    assert rows[1] == {"path": "b.png", "anomaly_score": 9.0, "p_value": 0.01, "flagged": True, "error": None}
    assert rows[2]["flagged"] is None


def test_an_unknown_format_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"\.xlsx.*name it \.csv"):
        check_table(tmp_path / "s.xlsx")


@pytest.mark.parametrize("place", ["missing/s.csv", "folder.csv"])
def test_an_unwritable_place_is_named(tmp_path, place):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError, match=r"cannot be written|no regular file"):
        write_table(SCORES, tmp_path / place)


def test_rows_written_before_a_crash_are_kept(tmp_path):
    def crashing():
        yield SCORES[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_table(crashing(), tmp_path / "s.csv")
    (unfinished,) = tmp_path.glob("s.csv.*.part")
    assert "ü,1.png" in unfinished.read_text(encoding="utf-8")
    assert not (tmp_path / "s.csv").exists()


def test_figures_are_written_as_json(tmp_path):
    write_json({"auroc": 0.5}, tmp_path / "f.json")
    assert json.loads((tmp_path / "f.json").read_text()) == {"auroc": 0.5}


def test_figures_are_json_whatever_they_are(tmp_path):
    write_json({"auroc": NAN, "names": [("caf\udce9", 1)], "deep": {"caf\udce9": float("-inf")}}, tmp_path / "f.json")

    def refuse(constant):
        raise AssertionError(constant)

    figures = json.loads((tmp_path / "f.json").read_text(), parse_constant=refuse)
    assert figures == {"auroc": None, "names": [[r"caf\udce9", 1]], "deep": {r"caf\udce9": None}}


def test_two_writers_do_not_mix_their_rows(tmp_path):
    def interrupted():
        yield SCORES[0]
        write_table(SCORES[1:], tmp_path / "s.csv")
        assert len((tmp_path / "s.csv").read_text().splitlines()) == 3

    write_table(interrupted(), tmp_path / "s.csv")
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 2


AWKWARD = [
    *("=1+1.png", "+2.png", "-3.png", "@SUM(A1).png", "\t=4.png", "\r=5.png", "\n=6.png"),
    *("a\rb.png", "a\nb.png", "a\r\nb.png", 'a"b,c.png', "a\u2028b.png", "a\x85b.png", "ü.png", "caf\udce9.png"),
]


def rows_of(path):
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_there_is_a_row_an_image_whatever_the_names(tmp_path, suffix):
    path = tmp_path / f"s{suffix}"
    write_table([ImageScore(name, NAN, NAN, None, f"{name}: is no image") for name in AWKWARD], path)
    rows = rows_of(path)
    names = [name.replace("\udce9", r"\udce9") for name in AWKWARD]
    if suffix == ".csv":
        names = [f"'{name}" for name in names[:7]] + names[7:]
    assert [row["path"] for row in rows] == names
    assert [row["error"] for row in rows] == [f"{name}: is no image" for name in names]


def test_numbers_below_zero_are_no_formulas(tmp_path):
    write_table([ImageScore("a.png", -1.5, 0.5, False, None)], tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines()[1] == "a.png,-1.5,0.5,false,"


@pytest.mark.slow
@given(st.lists(st.text(), min_size=1))
def test_any_row_reads_back_as_one(cells):
    (row,) = csv.reader(StringIO(csv_row(cells), newline=""))
    for cell, read in zip(cells, row, strict=True):
        assert read in (encodable(cell), f"'{encodable(cell)}")
        assert not read.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_a_list_has_a_line_a_name(tmp_path):
    write_lines(["a.png", "a\nb.png", "caf\udce9.png"], tmp_path / "l.txt")
    assert (tmp_path / "l.txt").read_text() == "a.png\na\\nb.png\ncaf\\udce9.png\n"
