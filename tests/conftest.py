"""Fixtures that every test may use, and what a run says at its end."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tests.requirements import SHARED, need

# A busy machine is no failure.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real image sets, which is outside the repository; its tests are marked `shared`."""
    need("shared")
    return Path(os.environ[SHARED])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260419)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell in one line a kind what was skipped, why, and what brings it."""
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    if skipped:
        terminalreporter.section("not run here")
        for reason, count in sorted(skipped.items()):
            terminalreporter.line(f"{count} tests or files: {reason}")
