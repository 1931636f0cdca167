"""The template, and a small demo set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from msde.demo import DemoSet, slices, write_demo_set
from msde.demo.template import load_template


@pytest.fixture(scope="session")
def template() -> NDArray[np.float32]:
    return load_template()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demo set have a few pictures only."""
    for name, count in {"N_TRAIN": 3, "N_NORMAL": 2, "N_ABNORMAL": 2}.items():
        monkeypatch.setattr(slices, name, count)


@pytest.fixture
def demo_set(few: None, tmp_path: Path) -> DemoSet:
    return write_demo_set(tmp_path / "demo")
