"""A model file that an older version wrote, with heat maps and calibrated volumes, and what it said of images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msde import AnomalyModel

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module", params=["as written", "saved again"])
def model(request, tmp_path_factory):
    model = AnomalyModel.load(DATA / "format-3.msde")
    if request.param == "saved again":
        path = tmp_path_factory.mktemp("model") / "again.msde"
        model.save(path)
        model = AnomalyModel.load(path)
    return model


@pytest.fixture(scope="module")
def expected():
    with np.load(DATA / "format-3.npz") as file:
        return dict(file)


def test_images_score_as_they_did(model, expected):
    scores = model.score(list(expected["images"]))
    np.testing.assert_allclose([score.anomaly_score for score in scores], expected["anomaly_score"], rtol=1e-6)
    np.testing.assert_array_equal([score.p_value for score in scores], expected["p_value"])
    np.testing.assert_array_equal([score.flagged for score in scores], expected["flagged"])


def test_a_volume_scores_as_it_did(model, expected, tmp_path):
    first, *others = map(Image.fromarray, expected["images"][:3])
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    volume = model.score(tmp_path / "stack.tif")[-1]
    said = [volume.anomaly_score, volume.p_value, volume.flagged]
    np.testing.assert_allclose(said, expected["volume"], rtol=1e-6)


def test_heat_maps_are_as_they_were(model, expected):
    heat = [explanation.heat for _, explanation in model.explain_iter(list(expected["images"]))]
    np.testing.assert_allclose(heat, expected["heat"], atol=1e-3)
