"""Model files of the last format; tests/data/format3 was written by the version before the shift."""

from pathlib import Path

import numpy as np
import pytest

from msde import AnomalyModel
from msde.storage.bundle import FORMAT_VERSION

DATA = Path(__file__).parents[1] / "data" / "format3"


@pytest.fixture(scope="module")
def expected():
    with np.load(DATA / "scores.npz") as file:
        return dict(file)


@pytest.mark.parametrize("mode", ["inductive", "adaptive", "transductive"])
def test_models_of_the_last_format_score_as_they_did(mode, expected):
    scores = AnomalyModel.load(DATA / f"{mode}.msde").score(list(expected["images"]))
    np.testing.assert_allclose([score.anomaly_score for score in scores], expected[mode], rtol=1e-6)
    np.testing.assert_array_equal([score.p_value for score in scores], expected[f"{mode}_p"])


def test_a_model_of_the_last_format_is_written_in_the_present_one(tmp_path, expected):
    AnomalyModel.load(DATA / "inductive.msde").save(tmp_path / "m.msde")
    assert f'"format_version":"{FORMAT_VERSION}"'.encode() in (tmp_path / "m.msde").read_bytes()[:5000]
    again = AnomalyModel.load(tmp_path / "m.msde")
    scores = [score.anomaly_score for score in again.score(list(expected["images"]))]
    np.testing.assert_allclose(scores, expected["inductive"], rtol=1e-6)
