"""Fixtures that every test may use, and what a run says at its end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from msde import AnomalyModel
from msde.backbones import Backbone
from tests.networks import shallow
from tests.pictures import write_discs
from tests.requirements import SHARED, THOROUGH, need

# A busy machine is no failure.
settings.register_profile("quick", deadline=None, max_examples=20)
settings.register_profile("steady", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile("thorough" if THOROUGH else "steady")  # `make quick` names its own


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Wait for no disk: what a test writes need not outlive a loss of power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real image sets, which is outside the repository; its tests are marked `shared`."""
    need("shared")
    return Path(os.environ[SHARED])


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small images, which nobody changes: `train` (40), `normal` and `abnormal` (12 each)."""
    root = tmp_path_factory.mktemp("discs")
    write_discs(root / "train", 40)
    write_discs(root / "normal", 12, seed=1)
    write_discs(root / "abnormal", 12, seed=2, lesion=True)
    return root


@pytest.fixture(scope="session")
def network() -> Backbone:
    """Return a small network, for tests of what is made of embeddings."""
    return shallow()


@pytest.fixture(scope="session")
def explaining(discs: Path) -> AnomalyModel:
    """Return a model of the discs that tells where an image differs; nobody changes it."""
    return AnomalyModel(shallow(3)).fit(discs / "train")


@pytest.fixture(scope="session")
def plain_model(network: Backbone, discs: Path) -> AnomalyModel:
    """Return the same without heat maps."""
    return AnomalyModel(network).fit(discs / "train", heatmaps=False)


@pytest.fixture(scope="session")
def model(explaining: AnomalyModel) -> AnomalyModel:
    """Return the model of a folder's tests; a folder may take another."""
    return explaining


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260419)


@pytest.hookimpl(trylast=True)  # after the order by chance
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of most slow tests, so that the last worker is not left alone with one of them."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


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
