"""What start page and guides show runs as it stands, on the demo's data."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from tests.command import msde
from tests.documents import DOCS, blocks
from tests.requirements import need

from msde.demo import slices

pytestmark = pytest.mark.slow  # whole jobs

GUIDES = ["start.md", "guide-research.md", "guide-hospital.md", "guide-reader.md"]
FOR_LATER = {"serve"}  # runs until it is stopped; tests/test_documents.py looks at its options


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    need("docs")  # they are tried where the site is built: whole jobs take their time
    folder = tmp_path_factory.mktemp("guides")
    slices.write_demo_set(folder / "demo" / "data", counts=(24, 8, 8))
    return folder


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_runs_from_top_to_bottom(guide, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name, count in {"N_TRAIN": 24, "N_NORMAL": 8, "N_ABNORMAL": 8}.items():
        monkeypatch.setattr(slices, name, count)
    for language, code in blocks((DOCS / guide).read_text(encoding="utf-8")):
        if language == "toml" and "[protocols" in code:
            (folder / "benchmark.toml").write_text(code, encoding="utf-8")
        elif language == "python":
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        elif language == "console":
            for line in code.splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words[:1] == ["msde"] and words[1] not in FOR_LATER:
                    done = msde(*words[1:])
                    assert done.returncode == 0, f"{line}\n{done.stderr}"
