"""Damaged files end in pixels or in one line, never in a crash, a hang or much memory; those cut short in a line.

MSDE_FUZZ is the number of damaged files for each reader, MSDE_FUZZ_SEED the first of their numbers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.requirements import THOROUGH

COUNT = int(os.environ.get("MSDE_FUZZ", "300" if THOROUGH else "100"))
SEED = int(os.environ.get("MSDE_FUZZ_SEED", "0"))
MEGABYTES = 1000


READERS = ["raster", "tiff", "dicom", "syntaxes", "nifti", "slide"]


def run(reader: str, count: str, folder: Path) -> tuple[int, int, int]:
    """Return how many files were read and refused, and the peak of memory in MB."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "error", "-m", "tests.images.fuzz", reader, count, str(SEED), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    left = [path.name for path in folder.iterdir()]
    assert done.returncode == 0, f"exit {done.returncode} at {left}: {done.stderr[-2000:]}"
    read, refused, megabytes = (int(word) for word in done.stdout.split())
    print(f"{reader}: {read} read, {refused} refused, at most {megabytes} MB")
    return read, refused, megabytes


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, reader: str) -> None:
    read, refused, megabytes = run(reader, str(COUNT), tmp_path)
    assert read > COUNT // 20
    assert refused > COUNT // 20
    assert read + refused == COUNT
    assert megabytes < MEGABYTES


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_no_file_cut_short_is_read(tmp_path: Path, reader: str) -> None:
    read, refused, megabytes = run(reader, "cut", tmp_path)
    assert read == 0
    assert refused >= 20 * 3
    assert megabytes < MEGABYTES
