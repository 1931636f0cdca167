import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from msde.method.gaussian import fit_ledoit_wolf
from msde.method.scorers import AdaptiveScorer
from msde.method.standardizer import CompressingStandardizer
from msde.method.unlabelled_pool import fit_adaptive, pool_evidence

D = 30


def sample(rng, n, abnormal=0.0, moved=0.0):
    """Rows and labels: normals, of which all are moved along one axis, and abnormals moved further along another."""
    labels = np.arange(n) < round(n * abnormal)
    rows = rng.normal(size=(n, D))
    rows[:, 0] += moved
    rows[labels, 1:5] += 2
    return rows, labels


def test_a_pool_half_abnormal_opens_the_gate_and_gains(rng):
    normals, _ = sample(rng, 200)
    pool, _ = sample(rng, 200, abnormal=0.5)
    queries, labels = sample(rng, 400, abnormal=0.5)
    gaussian, direction = fit_adaptive(normals, pool)
    scores = AdaptiveScorer(CompressingStandardizer.fit(rng.normal(size=(9999, D))), gaussian, direction).score(queries)
    assert direction.gate > 0.9
    assert roc_auc_score(labels, scores) > roc_auc_score(labels, fit_ledoit_wolf(normals).mahalanobis(queries)) + 0.02


@pytest.mark.parametrize("moved", [0, 1, 3])
def test_a_pool_of_normals_however_moved_keeps_the_gate_shut(moved):
    gates = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        _, direction = fit_adaptive(sample(rng, 200)[0], sample(rng, 200, moved=moved)[0])
        gates.append(direction.gate)
    assert np.median(gates) < 0.1


def test_the_normals_take_over_a_move_of_the_pool(rng):
    gaussian, _ = fit_adaptive(sample(rng, 200)[0], sample(rng, 400, moved=2)[0])
    assert 0.5 < gaussian.mean[0] < 2


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=30)
def test_evidence_is_a_share_and_ignores_the_order(seed, n):
    rng = np.random.default_rng(seed)
    pool, _ = sample(rng, n, abnormal=0.3)
    evidence = pool_evidence(pool)
    assert 0 <= evidence <= 1
    assert pool_evidence(rng.permutation(pool)) == pytest.approx(evidence, abs=1e-9)


def test_tiny_or_identical_pools_give_no_evidence_and_finite_scores(rng):
    normals, _ = sample(rng, 50)
    for pool in (rng.normal(size=(1, D)), np.ones((40, D)), normals[:3]):
        gaussian, direction = fit_adaptive(normals, pool)
        assert direction.evidence == pytest.approx(0, abs=1e-9)
        assert np.all(np.isfinite(gaussian.mahalanobis(normals)))
        assert np.all(np.isfinite(direction.along(normals)))
