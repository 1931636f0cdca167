"""Damaged files end in pixels or in one line, never in a crash, a hang or much memory.

MSDE_FUZZ is the number of damaged files for each reader, MSDE_FUZZ_SEED the first of their numbers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("MSDE_FUZZ", "300"))
SEED = int(os.environ.get("MSDE_FUZZ_SEED", "0"))
MEGABYTES = 1000


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["raster", "dicom", "nifti", "slide"])
def test_damaged_files_are_read_or_refused(tmp_path: Path, reader: str) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "error", "-m", "tests.images.fuzz", reader, str(COUNT), str(SEED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    left = [path.name for path in tmp_path.iterdir()]
    assert done.returncode == 0, f"exit {done.returncode} at {left}: {done.stderr[-2000:]}"
    read, refused, megabytes = (int(word) for word in done.stdout.split())
    print(f"{reader}: {read} read, {refused} refused, at most {megabytes} MB")
    assert read > COUNT // 20
    assert refused > COUNT // 20
    assert megabytes < MEGABYTES
