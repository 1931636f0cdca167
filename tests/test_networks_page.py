"""docs/networks.md says what the registry and the measurement say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from msde.backbones.known import registry

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("networks", ROOT / "tools" / "networks.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_page_is_up_to_date(tool: ModuleType) -> None:
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    assert page.endswith(tool.page_parts()), "python tools/networks.py --write"


def test_every_network_has_its_part_and_its_cost(tool: ModuleType) -> None:
    parts = tool.page_parts()
    assert [line[4:] for line in parts.splitlines() if line.startswith("### ")] == list(registry())
    assert set(tool.costs()) <= set(registry())
    assert parts.count("gated: accept its terms") == sum(entry["gated"] for entry in registry().values())
