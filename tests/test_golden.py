"""The published method against what the official scripts made: a small set in the repository, and whole real ones."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from msde import MeanShiftEnhancer, MSDEDetector
from msde.method.density_weights import density_weights
from msde.method.gaussian import fit_empirical
from msde.method.mean_shift import shift
from msde.method.neighbors.exact import ExactIndex
from msde.method.scorers import TransductiveScorer, batch_probability
from msde.method.standardizer import Standardizer

SMALL = Path(__file__).parent / "data" / "small_published.npz"
EXACT = {("nih_cxr_pneumonia_M", "train")}


def read(path):
    with np.load(path) as file:
        arrays = dict(file)
    arrays["union"] = np.vstack([arrays["train"], arrays["test"]])
    return arrays


def transductive_scores(golden):
    d = golden["train"].shape[1]
    _, shifted, _ = shift(golden["train"], density_weights(golden["train"], "published"))
    nothing = Standardizer(np.zeros(d, np.float32), np.ones(d, np.float32))
    scorer = TransductiveScorer(nothing, fit_empirical(shifted), golden["train"], "published", 50, 0.33, 8, 0.01)
    return scorer.score(golden["test"])


def relative_difference(positions, expected):
    return np.abs(positions - expected).max(axis=1) / np.abs(expected).max()


@pytest.fixture(scope="module")
def small():
    return read(SMALL)


@pytest.fixture(scope="module")
def small_scores(small):
    return transductive_scores(small)


@pytest.mark.parametrize("part", ["train", "union"])
def test_density_weights_are_the_published_ones(small, part):
    np.testing.assert_allclose(density_weights(small[part], "published"), small[f"weights_{part}"], rtol=1e-6)


@pytest.mark.parametrize("part", ["train", "union"])
def test_rows_shift_as_published(small, part):
    _, shifted, displacement = shift(small[part], small[f"weights_{part}"])
    assert relative_difference(shifted, small[f"shifted_{part}"]).max() <= 2.5e-7
    np.testing.assert_allclose(displacement, small[f"displacement_{part}"], rtol=1e-6)


def test_distances_are_the_published_ones(small, small_scores):
    expected = small["mahalanobis_test"]
    assert np.corrcoef(small_scores, expected)[0, 1] >= 1 - 1e-12
    np.testing.assert_allclose(small_scores, expected, rtol=2e-6)


def test_the_official_output_is_that_of_the_scripts(small, small_scores):
    np.testing.assert_allclose(batch_probability(small_scores), small["score_test"], atol=1e-6)


@pytest.fixture(params=["nih_cxr_pneumonia_M", "lgg_flair_hemispheres_H"], scope="module")
def golden(request, shared):
    return {**read(shared / "golden" / f"{request.param}.npz"), "name": request.param}


@pytest.mark.shared
@pytest.mark.parametrize("part", ["train", "union"])
def test_density_weights(golden, part):
    weights = density_weights(golden[part], "published")
    assert np.mean(np.abs(weights - golden[f"weights_{part}"]) <= 1e-6) >= 0.99


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("part", ["train", "union"])
def test_shifted_positions(golden, part):
    _, shifted, _ = shift(golden[part], golden[f"weights_{part}"])
    difference = relative_difference(shifted, golden[f"shifted_{part}"])
    if (golden["name"], part) in EXACT:
        assert difference.max() <= 2.5e-7
    assert round(float(difference.max()), 2) <= 0.02
    assert np.median(difference) <= 1e-6


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # numba's and pynndescent's own
def test_approximate_neighbours_alone_explain_the_difference(shared, monkeypatch):
    from pynndescent import NNDescent

    def approximate(index, queries, k):
        return (
            NNDescent(index.rows, n_neighbors=k, metric="euclidean", random_state=42).neighbor_graph[0].astype(np.intp)
        )

    monkeypatch.setattr(ExactIndex, "query", approximate)
    with np.load(shared / "golden" / "lgg_flair_hemispheres_H.npz") as golden:
        _, shifted, _ = shift(golden["train"], golden["weights_train"])
        assert relative_difference(shifted, golden["shifted_train"]).max() <= 1e-5


@pytest.mark.slow
@pytest.mark.shared
def test_scores_and_auroc(golden):
    scores = transductive_scores(golden)
    assert np.corrcoef(scores, golden["mahalanobis_test"])[0, 1] > 0.9998
    auroc, expected = (roc_auc_score(golden["label"], s) for s in (scores, golden["score_test"]))
    assert abs(auroc - expected) <= 0.002
    assert np.mean(np.abs(batch_probability(scores) - golden["score_test"]) < 0.01) > 0.98


@pytest.mark.parametrize("weighting", ["published", None])
def test_the_published_procedure_by_name_on_embeddings(weighting):
    """tests/data/small_published.npz: made by the official scripts, as shared/golden is."""
    with np.load(SMALL) as file:
        golden = dict(file)
    enhancer = MeanShiftEnhancer(weighting="published") if weighting is None else None
    detector = MSDEDetector("transductive", weighting=weighting, gaussian="pca", enhancer=enhancer)
    scores = detector.fit(golden["train"]).anomaly_score(golden["test"])
    np.testing.assert_allclose(scores, golden["mahalanobis_test"], rtol=1e-5)
    np.testing.assert_allclose(batch_probability(scores), golden["score_test"], atol=1e-5)
