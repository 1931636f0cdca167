import numpy as np
import pytest
from tests.requirements import need

from msde import MSDEDetector
from msde.benchmark.detectors import DETECTORS, Lesson, find_detector
from msde.benchmark.draws import Subset
from msde.errors import DataError
from msde.method.metrics import auroc

SPANS = np.array([[0, 4], [4, 12]])
EMBEDDED = [name for name, one in DETECTORS.items() if one.space == "embedding"]


@pytest.fixture
def rows(rng):
    normals = rng.normal(size=(150, 12)).astype(np.float32)
    return normals[:110], normals[110:], (rng.normal(size=(30, 12)) * 8 + 8).astype(np.float32)


def fitted(name, rows, seed):
    """Fit a detector; where it learns from labels, a few of the abnormal rows have some."""
    train, normal, abnormal = rows
    detector = find_detector(name)
    lesson = Lesson(train, seed=seed, pool=np.vstack([normal, abnormal]) if detector.pooled else None, spans=SPANS)
    return detector.teach(lesson)(Subset(abnormal[:12], np.arange(12))) if detector.teach else detector.fit(lesson)


@pytest.mark.parametrize("name", [*EMBEDDED, pytest.param("pyod:hbos.HBOS", marks=pytest.mark.slow), "pyod:inne.INNE"])
def test_each_finds_what_lies_far_out(name, rows):
    _, normal, abnormal = rows
    score = fitted(name, rows, seed=3)
    scores = score(np.vstack([normal, abnormal]))
    assert scores.shape == (70,)
    assert auroc(scores[:40], scores[40:]) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("name", EMBEDDED)
def test_a_score_depends_on_the_batch_and_the_seed_only_where_it_says_so(name, rows):
    _, normal, abnormal = rows
    detector = find_detector(name)
    batch = np.vstack([normal, abnormal])
    fits = [fitted(name, rows, seed) for seed in (0, 0, 1)]
    same = [np.allclose(fits[0](batch), fit(batch)) for fit in fits]
    assert same[1]
    if not detector.random:
        assert same[2]
    if not detector.batchwise:
        np.testing.assert_allclose(fits[0](batch[:1]), fits[0](batch)[:1], rtol=1e-4)


def test_ours_is_the_detector_as_it_is_used(rows):
    train, normal, _ = rows
    np.testing.assert_allclose(
        DETECTORS["msde"].fit(Lesson(train))(normal), MSDEDetector().fit(train).anomaly_score(normal)
    )


def test_ours_with_labels_is_the_detector_as_it_is_used(rows):
    train, normal, abnormal = rows
    patients = np.arange(len(train)) // 2
    teach = DETECTORS["msde-labelled"].teach
    assert teach is not None
    labels = Subset(abnormal[:5], np.array([3, 3, 4, 5, 6]))
    ours = MSDEDetector().fit(train, groups=patients, abnormal=labels.rows, abnormal_groups=labels.patients)
    np.testing.assert_allclose(teach(Lesson(train, patients=patients))(labels)(normal), ours.anomaly_score(normal))


def test_levels_are_measured_apart(rows):
    train, normal, _ = rows
    fit = DETECTORS["per-level"].fit
    parts = [fit(Lesson(np.ascontiguousarray(train[:, a:b])))(normal[:, a:b]) for a, b in SPANS]
    np.testing.assert_allclose(fit(Lesson(train, spans=SPANS))(normal), sum(parts), rtol=1e-5)


@pytest.mark.parametrize("name", ["padim", "patchcore"])
def test_patches_find_one_strange_place(name, rng):
    patches = rng.normal(size=(60, 9, 8)).astype(np.float16)
    strange = patches[40:].copy()
    strange[:, 4] += 6
    score = find_detector(name).fit(Lesson(patches[:40], seed=1))
    assert auroc(score(patches[40:]), score(strange)) == 1
    np.testing.assert_allclose(score(strange[:1]), score(strange)[:1], rtol=1e-4)


@pytest.mark.torch
@pytest.mark.slow
def test_the_autoencoder_learns_the_normals_and_repeats_itself(rng):
    need("torch")
    smooth = np.linspace(0, 1, 32, dtype=np.float32)
    normals = np.stack([np.outer(smooth, smooth) * scale for scale in rng.uniform(0.95, 1, size=24)])
    strange = normals[:8].copy()
    strange[:, 10:18, 10:18] = rng.uniform(size=(8, 8, 8))
    fits = [find_detector("autoencoder").fit(Lesson(normals[8:], seed=2)) for _ in range(2)]
    assert auroc(fits[0](normals[:8]), fits[0](strange)) == 1
    np.testing.assert_allclose(fits[0](strange), fits[1](strange), rtol=1e-4)


@pytest.mark.parametrize("name", ["nothing", "pyod:nothing", "anomalib:", "pyod:hbos.Nothing"])
def test_an_unknown_one_is_named(name):
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        find_detector(name)


@pytest.mark.parametrize("name", [name for name, one in DETECTORS.items() if one.teach])
def test_who_learns_from_labels_needs_some(name, rows):
    with pytest.raises(DataError, match="few-labels"):
        DETECTORS[name].fit(Lesson(rows[0]))


def test_pyods_that_need_labels_get_them(rows, monkeypatch):
    """XGBOD is such a class where xgboost is installed."""
    from sklearn.linear_model import LogisticRegression

    class Supervised:
        def fit(self, X, y):
            self.model = LogisticRegression(max_iter=1000).fit(X, y)
            return self

        def decision_function(self, X):
            return self.model.decision_function(X)

    monkeypatch.setattr("pyod.models.hbos.Supervised", Supervised, raising=False)
    detector = find_detector("pyod:hbos.Supervised")
    assert detector.teach is not None
    assert find_detector("pyod:hbos.HBOS").teach is None
    train, normal, _ = rows
    abnormal = normal + np.float32(3)
    score = detector.teach(Lesson(train))(Subset(abnormal[:20], np.arange(20)))
    assert auroc(score(normal), score(abnormal[20:])) > 0.9
