"""The README's commands and code do what it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pictures import write_discs

pytestmark = pytest.mark.slow  # whole jobs

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    for place, lesion in (("normals", False), ("test/normal", False), ("test/abnormal", True), ("new_images", True)):
        write_discs(folder / place, 24, seed=len(place), lesion=lesion)
    return folder


def test_the_python_code_runs(folder):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 24


def test_the_commands_run_in_their_order(folder):
    commands = re.findall(r"^\$ (msde .*)$", README, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        arguments = shlex.split(command)
        arguments[0] = str(Path(sys.executable).with_name("msde"))
        done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_it_says_research_use_only():
    assert "research use only" in README.lower()
    assert "Not a medical device" in README
