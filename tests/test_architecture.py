"""What the maps say is there: files that the documents name, and the map of CONTRIBUTING.md as its tool prints it."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "msde"
FILE = re.compile(r"`((?:[\w-]+/)+(?:\w+\.(?:py|js|html|toml))?)`")


@pytest.mark.parametrize("document", ["docs/architecture.md", "docs/glossary.md"])
def test_files_that_a_document_names_exist(document):
    named = set(FILE.findall((ROOT / document).read_text(encoding="utf-8")))
    assert len(named) > 20
    placeholders = {"images/NAME.py", "dicom/NAME.py"}
    roots = (ROOT, ROOT / "src", SOURCE)
    assert not {name for name in named - placeholders if not any((root / name).exists() for root in roots)}


def test_each_promise_of_the_threat_model_names_tests_that_exist():
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = text.partition("## What is promised")[2].partition("## What is not promised")[0]
    promises = [line for line in table.splitlines() if line.startswith("| ") and "`tests/serve/`" not in line]
    assert len(promises) > 10
    for promise in promises:
        named = re.findall(r"`([^`]+)`", promise.rsplit("|", 2)[1])
        assert named, promise
        assert [name for name in named if not (ROOT / "tests" / "serve" / name).exists()] == []


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("map", ROOT / "tools" / "map.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_map_is_made_of_contract_and_docstrings(tool):
    assert tool.package_map() in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "python tools/map.py --write"
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert packages <= {name for floor in tool.floors() for name in floor}


def test_the_floors_are_those_of_the_contract(tool):
    block = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    assert [line.partition("  ")[0].split(" · ") for line in block.strip().splitlines()] == tool.floors()
