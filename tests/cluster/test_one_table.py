"""Parts of a finished job, put together."""

import csv
import json
import math

import pytest
from pyarrow import parquet
from tests.requirements import need

from msde.model.score import COLUMNS, EVIDENCE, ImageScore
from msde.output.score_table import write_table

need("ray")

from msde.cluster.arrow import scores_table, to_parquet  # noqa: E402
from msde.cluster.job_folder import JobFolder  # noqa: E402
from msde.cluster.one_table import write_scores  # noqa: E402

SCORES = [
    ImageScore("=a.png", 1.5, 0.25, False, None, evidence="like the labelled"),
    ImageScore("b\n.png", math.nan, math.nan, None, "b.png: is none"),
    ImageScore("c\u2028.png", 3.0, 0.04, True, None),
]


@pytest.fixture
def job(discs, tmp_path):
    images = sorted(map(str, (discs / "abnormal").iterdir()))[:2]
    job = JobFolder.start(str(tmp_path / "job"), "score", ("", b""), images, 1)
    for part, scores in enumerate((SCORES[:2], SCORES[2:])):
        job.finish(part, to_parquet(scores_table(scores, (*COLUMNS, EVIDENCE)), {"msde": "a note"}))
    return job


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_table_is_that_of_one_process(job, tmp_path, suffix):
    together, alone = tmp_path / f"together{suffix}", tmp_path / f"alone{suffix}"
    write_scores(job, together)
    write_table(SCORES, alone, columns=(*COLUMNS, EVIDENCE))
    if suffix == ".parquet":
        assert parquet.read_table(together).equals(parquet.read_table(alone))
    else:
        assert together.read_bytes() == alone.read_bytes()


def test_what_is_written_reads_back(job, tmp_path):
    write_scores(job, tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        assert [row["flagged"] for row in csv.DictReader(file)] == ["false", "", "true"]
    write_scores(job, tmp_path / "s.jsonl")
    lines = (tmp_path / "s.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    assert [json.loads(line)["p_value"] for line in lines] == [0.25, None, 0.04]
