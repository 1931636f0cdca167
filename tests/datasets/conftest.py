from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.datasets.server import Server, serving


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder) as running:
        yield running
