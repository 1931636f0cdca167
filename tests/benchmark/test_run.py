"""The whole of it, from images to page."""

import json
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from msde.cli.benchmark import benchmark


def call(*arguments, code):
    result = CliRunner().invoke(benchmark, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def cells(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "cells.jsonl").read_text().splitlines()]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.tags, self.sources = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.sources += [value for name, value in given.items() if name in ("src", "href", "xlink:href")]


@pytest.mark.slow
def test_images_become_cells_tables_and_a_page_and_nothing_is_done_twice(sets, toml, tmp_path):
    out = tmp_path / "out"
    call(toml, "--data", sets, "-o", out, "--workers", 2, code=0)
    lines = cells(out)
    assert not [line["error"] for line in lines if "error" in line]
    assert len(lines) == len({line["key"] for line in lines})
    by_protocol = {
        name: [line for line in lines if line["protocol"] == name] for name in {x["protocol"] for x in lines}
    }
    # Per set; displacement and isolation forest are random.
    assert {name: len(found) // 2 for name, found in by_protocol.items()} == {
        "published": 2 + 5 + 5,
        "single": 1 + 5,
        "prevalence": 10 + 10,
        "contamination": 5,
        "few-normals": 5 + 1,  # of 20 normals there are no 100
        "cross-site": 5,
        "few-labels": 30,
        "open-set": 10 / 2,  # of the set whose names tell kinds
    }
    for line in lines:
        assert line["versions"]["msde"]
        assert "revision" in line
        assert line["seconds"] >= 0
        assert line["peak_mb"] > 0
        assert 0 <= line["auroc"] <= 1
        assert 0 <= line["ap"] <= 1
    alone = next(line for line in by_protocol["single"] if line["detector"] == "msde")
    assert alone["auroc"] > 0.9
    assert 0 <= alone["aucp"] <= 1
    assert len(alone["scores"]["values"]) == 32

    text = (out / "benchmark.html").read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags
    assert all(source.startswith("#") for source in page.sources)
    assert "research use only" in text
    tables = (out / "tables.md").read_text()
    for title in (
        "Beside the published figures",
        "Protocol cross-site",
        "Choice without labels",
        "Few normals",
        "Kinds without labels",
    ):
        assert title in tables
        assert title in text

    paper = {path.name for path in (out / "paper").iterdir()}
    for name in ("table-protocol-single", "table-pairs-single", "table-beside-the-published-figures"):
        assert {f"{name}.csv", f"{name}.md", f"{name}.tex"} <= paper
    assert {"plot-roc-curves.svg", "plot-roc-curves.pdf", "methods.md", "references.bib", "paper.tex"} <= paper
    assert len([name for name in paper if name.endswith(".pdf")]) == text.count('<div class="plot">')
    assert (out / "paper/plot-roc-curves.pdf").read_bytes().startswith(b"%PDF")

    before = (out / "cells.jsonl").read_bytes()
    (out / "cells.jsonl").write_bytes(before[:-20])  # killed while it wrote the last line
    assert "1 cells measured" in call(toml, "--data", sets, "-o", out, "--workers", 1, code=0).output
    assert len(cells(out)) == len(lines)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_killed_run_goes_on_where_it_was(sets, toml, tmp_path):
    out = tmp_path / "out"
    few = toml.read_text().partition("[protocols.prevalence]")[0].replace('"isolation-forest", "msde-adaptive", ', "")
    toml.write_text(few)
    code = "from msde.cli.main import main; main()"
    arguments = ["benchmark", str(toml), "--data", str(sets), "-o", str(out), "--workers", "1"]
    job = subprocess.Popen([sys.executable, "-c", code, *arguments], start_new_session=True)
    journal = out / "cells.jsonl"
    while job.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 5):
        time.sleep(0.05)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    kept = journal.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    call(toml, "--data", sets, "-o", out, "--workers", 1, code=0)
    assert journal.read_bytes().startswith(kept)
    assert len(cells(out)) == len({line["key"] for line in cells(out)})


@pytest.mark.slow
def test_a_set_that_is_not_there_and_a_bad_image_are_told(sets, toml, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "here").symlink_to(sets / "here", target_is_directory=True)
    toml.write_text(
        toml.read_text().partition("[protocols.published]")[0] + "[protocols.single]\ndetectors = ['msde']\n"
    )
    result = call(toml, "--data", data, "-o", tmp_path / "out", "--workers", 1, code=3)
    assert "there" in result.output
    assert "not on this machine" in (tmp_path / "out/tables.md").read_text()
    assert [line["set"] for line in cells(tmp_path / "out")] == ["here"]


def test_a_file_or_published_but_not_both(toml, tmp_path):
    for arguments in ([toml, "--published"], []):
        assert "either" in call(*arguments, "--data", tmp_path, "-o", tmp_path / "out", code=2).output
