"""dciodvfy, the validator of Debian's dicom3tools."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.requirements import need


def errors(files: Sequence[Path]) -> list[str]:
    """Return what the validator calls an error; a test that asks needs it."""
    need("dicom3tools")
    found = []
    for file in files:
        report = subprocess.run(["dciodvfy", file], capture_output=True, text=True, errors="replace")
        lines = (report.stdout + report.stderr).splitlines()
        assert len(lines) > 0, f"dciodvfy said nothing of {file}, not even its kind"
        found += [line for line in lines if line.startswith("Error")]
    return found
