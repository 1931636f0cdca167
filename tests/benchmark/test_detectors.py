import numpy as np
import pytest
from tests.requirements import need

from msde import MSDEDetector
from msde.benchmark.detectors import DETECTORS, Lesson, find_detector
from msde.errors import DataError
from msde.method.metrics import auroc

SPANS = np.array([[0, 4], [4, 12]])
EMBEDDED = [name for name, one in DETECTORS.items() if one.space == "embedding"]


@pytest.fixture
def rows(rng):
    normals = rng.normal(size=(150, 12)).astype(np.float32)
    return normals[:110], normals[110:], (rng.normal(size=(30, 12)) * 8).astype(np.float32)


@pytest.mark.parametrize("name", [*EMBEDDED, pytest.param("pyod:hbos.HBOS", marks=pytest.mark.slow), "pyod:inne.INNE"])
def test_each_finds_what_lies_far_out(name, rows):
    train, normal, abnormal = rows
    detector = find_detector(name)
    pool = np.vstack([normal, abnormal]) if detector.pooled else None
    score = detector.fit(Lesson(train, seed=3, pool=pool, spans=SPANS))
    scores = score(np.vstack([normal, abnormal]))
    assert scores.shape == (70,)
    assert auroc(scores[:40], scores[40:]) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("name", EMBEDDED)
def test_a_score_depends_on_the_batch_and_the_seed_only_where_it_says_so(name, rows):
    train, normal, abnormal = rows
    detector = find_detector(name)
    batch = np.vstack([normal, abnormal])
    pool = batch if detector.pooled else None
    fits = [detector.fit(Lesson(train, seed=seed, pool=pool, spans=SPANS)) for seed in (0, 0, 1)]
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
