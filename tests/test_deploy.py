"""What is installed beside the package."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.requirements import need

UNIT = Path(__file__).parents[1] / "deploy" / "msde.service"
MOST = 1.5


def test_the_unit_exposes_little(tmp_path):
    need("systemd")
    threshold = f"--threshold={round(10 * MOST)}"
    told = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", threshold, UNIT], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout[-200:] + told.stderr
    verified = subprocess.run(["systemd-analyze", "verify", UNIT], capture_output=True, text=True)
    said = [line for line in verified.stderr.splitlines() if "msde.service" in line and "not executable" not in line]
    assert said == []
