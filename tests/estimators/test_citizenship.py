"""The estimators among scikit-learn's own tools and the usual data frames."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.requirements import need
from threadpoolctl import threadpool_limits

from msde import GaussianDensity, MeanShiftEnhancer, MSDEDetector


@pytest.mark.slow
@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_frames_go_in_and_wrong_columns_are_refused(rng, frames):
    if frames == "polars":
        need("polars")
    library = import_module(frames)
    columns = ["a", "b", "c"]
    rows = rng.normal(size=(60, 3))
    detector = MSDEDetector().fit(library.DataFrame(dict(zip(columns, rows.T, strict=True))))
    assert list(detector.feature_names_in_) == columns
    np.testing.assert_allclose(
        detector.anomaly_score(pd.DataFrame(rows, columns=columns)), detector.scorer_.score(rows)
    )
    with pytest.raises(ValueError, match="feature names"):
        detector.anomaly_score(pd.DataFrame(rows, columns=["x", "y", "z"]))


@pytest.mark.parametrize("estimator", [MSDEDetector(), MeanShiftEnhancer(), GaussianDensity()])
def test_sparse_input_is_refused_clearly(estimator):
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        clone(estimator).fit(csr_array(np.eye(9)))


def test_grid_search_finds_settings(rng):
    pipeline = make_pipeline(StandardScaler(), MeanShiftEnhancer(), GaussianDensity())
    search = GridSearchCV(
        pipeline, {"meanshiftenhancer__n_neighbors": [5, 20], "gaussiandensity__covariance": ["empirical"]}
    )
    assert search.fit(rng.normal(size=(60, 3))).best_params_["meanshiftenhancer__n_neighbors"] in (5, 20)


def test_nested_settings_reach_the_enhancer():
    detector = clone(MSDEDetector("transductive", enhancer=MeanShiftEnhancer())).set_params(enhancer__n_neighbors=7)
    assert detector.enhancer.n_neighbors == 7


def test_groups_reach_the_detector_through_a_pipeline(rng):
    rows, patients = rng.normal(size=(60, 8)), np.repeat([f"patient {number}" for number in range(20)], 3)
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), MSDEDetector().set_fit_request(groups=True))
        pipeline.fit(rows, groups=patients)
    assert pipeline[-1].calibration_.n_units == 20


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["inductive", "adaptive", "transductive"])
def test_one_and_two_threads_give_the_same_scores(rng, mode):
    rows, pool, new = (rng.normal(size=(n, 40)).astype(np.float32) for n in (300, 80, 50))
    scores = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            detector = MSDEDetector(mode).fit(rows, unlabelled=pool if mode == "adaptive" else None)
            scores.append(detector.anomaly_score(new))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6)


@pytest.mark.parametrize("mode", ["inductive", "transductive"])
def test_scores_are_float64_whatever_the_input(rng, mode):
    for dtype in (np.float32, np.float64, int):
        rows = (rng.normal(size=(60, 4)) * 9).astype(dtype)
        assert MSDEDetector(mode).fit(rows).anomaly_score(rows[:3]).dtype == np.float64
