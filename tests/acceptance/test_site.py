"""The site is built without a complaint, asks for nothing from elsewhere, and its notebooks run."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path

import pytest
from tests.documents import DOCS, ROOT
from tests.requirements import need

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    need("docs")
    folder = tmp_path_factory.mktemp("site")
    # No proxy answers there: what asks for the network fails.
    closed = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", DOCS, "-d", folder / "kept"]
    done = subprocess.run([*build, ROOT, folder / "site"], capture_output=True, text=True, env={**os.environ, **closed})
    assert done.returncode == 0, done.stderr
    return folder / "site"


class Asked(HTMLParser):
    """What a page has a browser load, and where it leads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loads: set[str] = set()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attributes}
        self.ids.add(of.get("id", ""))
        if tag == "a":
            self.links.add(of.get("href", ""))
        elif tag == "link" and of.get("rel") in {"index", "search", "next", "prev", "canonical"}:
            return
        else:
            self.loads |= {of[name] for name in ("src", "srcset", "href") if name in of}


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        for loaded in Asked(page).loads:
            assert not re.match(r"(https?:)?//", loaded), f"{page}: {loaded}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import) *[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_search_finds_pages_without_a_server(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(")
    assert "docs/start" in index
    assert "docs/README.html" in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "anchor"),
    [
        ("docs/start.html", "thresholds-explained"),
        ("docs/architecture.html", "a-backbone"),
        ("docs/rest.html", "all-routes"),
        ("docs/python.html", "msde.AnomalyModel"),
        ("docs/command-line.html", "msde-fit"),
        ("docs/notebooks/heatmaps.html", "volumes"),
        ("CHANGELOG.html", "changelog"),
    ],
)
def test_pages_are_in_the_navigation_and_have_their_headings(site, page, anchor):
    index = Asked(site / "docs" / "README.html")
    assert os.path.relpath(page, "docs") in index.links
    assert anchor in Asked(site / page).ids


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_stored_outputs_are_of_its_cells(notebook, tmp_path, monkeypatch):
    need("docs")
    import nbformat

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "tools" / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    run, stored = tool.run(notebook, tmp_path), nbformat.read(notebook, as_version=4)
    assert [kinds(cell) for cell in run.cells] == [kinds(cell) for cell in stored.cells], "python tools/notebooks.py"


def kinds(cell) -> list[list[str]]:
    """Of neighbours alike one counts: how often a stream is told of is a matter of time."""
    found = [sorted(output.get("data", {"stream": ""})) for output in cell.get("outputs", [])]
    return [kind for kind, _ in groupby(found)]
