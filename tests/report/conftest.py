"""A fitted model and a folder with everything that a worklist may hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.pictures import disc, write_discs

from msde.images import find_images
from msde.model.anomaly_model import AnomalyModel
from msde.model.nearest_normals import NearestNormals
from msde.report import Worklist, make_worklist, write_report

HOSTILE = "</script><img src=x onerror=alert(1)> \"'&$x é 胸.png"  # a file in a folder named "<"


@pytest.fixture(scope="session")
def train(discs) -> Path:
    return discs / "train"


@pytest.fixture(scope="session")
def model(plain_model) -> AnomalyModel:
    return plain_model


@pytest.fixture(scope="session")
def incoming(tmp_path_factory) -> Path:
    """Three normals, three abnormal images, one of a hostile name, and one that is none."""
    folder = tmp_path_factory.mktemp("DOE^JANE_19700101") / "incoming"
    write_discs(folder / "normal", 3, seed=1)
    write_discs(folder / "abnormal", 3, seed=2, lesion=True)
    (folder / HOSTILE).parent.mkdir()
    Image.fromarray(disc(np.random.default_rng(3), lesion=True)).save(folder / HOSTILE)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory) -> Path:
    """A TIFF of eight pages, the fourth of which is abnormal."""
    rng = np.random.default_rng(4)
    pages = [Image.fromarray(disc(rng, lesion=number == 3)) for number in range(8)]
    path = tmp_path_factory.mktemp("stack") / "stack.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


@pytest.fixture(scope="session")
def worklist(model, incoming, train) -> Worklist:
    return make_worklist(model, find_images([incoming]), NearestNormals.embed(model, find_images([train])))


@pytest.fixture(scope="session")
def explained(explaining, incoming, train) -> Worklist:
    return make_worklist(explaining, find_images([incoming]), NearestNormals.embed(explaining, find_images([train])))


@pytest.fixture
def page(worklist, model, tmp_path) -> str:
    """The report without overlays."""
    write_report(worklist, model, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")
