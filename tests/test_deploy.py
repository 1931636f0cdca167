"""What is installed beside the package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.requirements import need

DEPLOY = Path(__file__).parents[1] / "deploy"
MOST = {"msde.service": 1.5, "msde-backup.service": 2.5}  # what systemd calls its exposure, of 10


def test_the_units_expose_little_and_are_well_formed(tmp_path):
    need("systemd")
    for unit, most in MOST.items():
        threshold = f"--threshold={round(10 * most)}"
        told = subprocess.run(
            ["systemd-analyze", "security", "--no-pager", "--offline=true", threshold, DEPLOY / unit],
            capture_output=True,
            text=True,
        )
        assert told.returncode == 0, told.stdout[-200:] + told.stderr
    for file in DEPLOY.glob("msde*"):
        shutil.copy(file, tmp_path)
    for unit in ("msde", "msde-backup"):  # as the head of the drop-in says
        (tmp_path / f"{unit}.service.d").mkdir()
        shutil.copy(DEPLOY / "msde-postgresql.conf", tmp_path / f"{unit}.service.d" / "postgresql.conf")
    units = [tmp_path / name for name in ("msde.service", "msde-backup.service", "msde-backup.timer")]
    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    said = [line for line in verified.stderr.splitlines() if "msde" in line and "not executable" not in line]
    assert said == []
