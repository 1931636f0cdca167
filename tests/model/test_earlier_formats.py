"""Model files that older versions wrote, with heat maps and calibrated volumes, and what they said of images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msde import AnomalyModel
from msde.heatmaps.colours import ColourScale

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module", params=[3, 4])
def version(request):
    return request.param


@pytest.fixture(scope="module", params=["as written", "saved again"])
def model(request, version, tmp_path_factory):
    model = AnomalyModel.load(DATA / f"format-{version}.msde")
    if request.param == "saved again":
        path = tmp_path_factory.mktemp("model") / "again.msde"
        model.save(path)
        model = AnomalyModel.load(path)
    return model


@pytest.fixture(scope="module")
def expected(version):
    with np.load(DATA / f"format-{version}.npz") as file:
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


def test_its_calibration_says_that_it_is_not_by_patient(model):
    described = model.info()["calibration"]
    assert described["source"] == "cross-fitted training normals"
    assert described["units"] == described["normals"]
    assert described["patients"] == 0


def test_its_colours_begin_where_they_did(model):
    assert model.colours == ColourScale()
    assert "normal images show any" not in model.colours.legend()
