import csv
import json

import pytest

from msde.errors import OutputError
from msde.model.score import ImageScore
from msde.output.score_table import check_table, write_json, write_table

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


def test_two_writers_do_not_mix_their_rows(tmp_path):
    def interrupted():
        yield SCORES[0]
        write_table(SCORES[1:], tmp_path / "s.csv")
        assert len((tmp_path / "s.csv").read_text().splitlines()) == 3

    write_table(interrupted(), tmp_path / "s.csv")
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 2


def test_a_name_that_is_no_text_is_escaped(tmp_path):
    write_table([ImageScore("bad\udcff.png", 1.0, 0.5, False, None)], tmp_path / "s.csv")
    assert r"bad\udcff.png" in (tmp_path / "s.csv").read_text(encoding="utf-8")
