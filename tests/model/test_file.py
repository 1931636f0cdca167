"""Model files of earlier formats: that before the shift (3), and that before patients (4)."""

from pathlib import Path

import numpy as np
import pytest

from msde import AnomalyModel
from msde.storage.bundle import FORMAT_VERSION

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module", params=["format3", "format4"])
def folder(request):
    return DATA / request.param


@pytest.fixture(scope="module")
def expected(folder):
    with np.load(folder / "scores.npz") as file:
        return dict(file)


@pytest.mark.parametrize("mode", ["inductive", "adaptive", "transductive"])
def test_models_of_earlier_formats_score_as_they_did(mode, folder, expected):
    scores = AnomalyModel.load(folder / f"{mode}.msde").score(list(expected["images"]))
    np.testing.assert_allclose([score.anomaly_score for score in scores], expected[mode], rtol=1e-6)
    np.testing.assert_array_equal([score.p_value for score in scores], expected[f"{mode}_p"])


def test_a_model_of_an_earlier_format_is_written_in_the_present_one(tmp_path, folder, expected):
    AnomalyModel.load(folder / "inductive.msde").save(tmp_path / "m.msde")
    assert f'"format_version":"{FORMAT_VERSION}"'.encode() in (tmp_path / "m.msde").read_bytes()[:5000]
    again = AnomalyModel.load(tmp_path / "m.msde")
    scores = [score.anomaly_score for score in again.score(list(expected["images"]))]
    np.testing.assert_allclose(scores, expected["inductive"], rtol=1e-6)
