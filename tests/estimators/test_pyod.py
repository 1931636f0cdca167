import numpy as np
import pytest
from sklearn.base import clone

from msde import MSDEDetector
from msde.estimators.pyod import MSDE


def test_signs_and_names_are_those_of_pyod(rng):
    rows = np.vstack([rng.normal(size=(190, 6)), rng.normal(size=(10, 6)) + 6])
    model = MSDE(contamination=0.05).fit(rows)
    assert model.decision_scores_.shape == model.labels_.shape == (200,)
    assert model.labels_.sum() == 10
    assert model.labels_[190:].mean() > 0.8
    far = np.full((1, 6), 20.0)
    assert model.decision_function(far)[0] > model.threshold_
    assert model.predict(far)[0] == 1
    assert 0.5 < model.predict_proba(far)[0, 1] <= 1


def test_scores_are_those_of_the_detector(rng):
    rows, new = rng.normal(size=(60, 4)), rng.normal(size=(9, 4))
    np.testing.assert_allclose(MSDE().fit(rows).decision_function(new), MSDEDetector().fit(rows).anomaly_score(new))


def test_it_can_be_cloned_and_refuses_a_contamination_out_of_range():
    assert clone(MSDE(0.2, "transductive")).mode == "transductive"
    with pytest.raises(ValueError, match="contamination"):
        MSDE(0.7)
