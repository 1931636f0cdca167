import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from msde.method.gaussian import Gaussian, fit_ledoit_wolf
from msde.method.scorers import AdaptiveScorer
from msde.method.standardizer import CompressingStandardizer
from msde.method.unlabelled_pool import (
    LARGEST_WEIGHT,
    Direction,
    confirmed,
    fit_direction,
    held_out_along,
    pool_evidence,
)

D = 30


def sample(rng, n, abnormal=0.0, moved=0.0):
    """Rows and labels: normals, of which all are moved along one axis, and abnormals moved further along another."""
    labels = np.arange(n) < round(n * abnormal)
    rows = rng.normal(size=(n, D))
    rows[:, 0] += moved
    rows[labels, 1:5] += 2
    return rows, labels


def weight(normals, pool):
    return fit_direction(fit_ledoit_wolf(normals), pool).weight or 0.0


def test_a_pool_half_abnormal_opens_the_gate_and_gains(rng):
    normals, _ = sample(rng, 200)
    pool, _ = sample(rng, 200, abnormal=0.5)
    queries, labels = sample(rng, 400, abnormal=0.5)
    gaussian = fit_ledoit_wolf(normals)
    direction = fit_direction(gaussian, pool)
    scores = AdaptiveScorer(CompressingStandardizer.fit(rng.normal(size=(9999, D))), gaussian, direction).score(queries)
    assert direction.weight is not None
    assert direction.weight > 0.9 * LARGEST_WEIGHT
    assert roc_auc_score(labels, scores) > roc_auc_score(labels, gaussian.mahalanobis(queries)) + 0.02


def moved(by):
    return lambda rng: sample(rng, 200, moved=by)[0]


def rescaled(rng):
    return 1.3 * sample(rng, 200)[0] + 0.3


def from_few_patients(rng):
    odd = np.repeat(2 * rng.normal(size=(12, D)), 5, axis=0)
    return np.vstack([odd + 0.1 * rng.normal(size=odd.shape), sample(rng, 60)[0]])


@pytest.mark.parametrize("pool", [moved(0), moved(1), moved(3), rescaled, from_few_patients])
def test_a_pool_of_normals_however_moved_keeps_the_gate_shut(pool):
    weights = [weight(sample(rng, 200)[0], pool(rng)) for rng in map(np.random.default_rng, range(10))]
    assert np.median(weights) < 0.05 * LARGEST_WEIGHT


def test_copies_of_one_abnormal_row_are_no_group(rng):
    copies = np.tile(sample(rng, 1, abnormal=1)[0], (60, 1))
    assert weight(sample(rng, 200)[0], np.vstack([copies, sample(rng, 60)[0]])) == 0


def test_a_move_of_the_whole_pool_is_no_part_of_the_direction(rng):
    normals, _ = sample(rng, 2000)
    gaussian = fit_ledoit_wolf(normals)
    at_home, moved = (fit_direction(gaussian, sample(np.random.default_rng(1), 2000, 0.5, move)[0]) for move in (0, 2))
    assert at_home.axis @ moved.axis / np.linalg.norm(at_home.axis) / np.linalg.norm(moved.axis) > 0.9


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
    gaussian = fit_ledoit_wolf(normals)
    for pool in (rng.normal(size=(1, D)), np.ones((40, D)), normals[:3]):
        direction = fit_direction(gaussian, pool)
        assert direction.evidence == pytest.approx(0, abs=1e-9)
        assert np.all(np.isfinite(direction.along(normals)))
        assert np.all(np.isfinite(held_out_along(gaussian, pool)))


def test_a_row_is_held_out_of_the_direction_that_measures_it(rng):
    normals, _ = sample(rng, 200)
    gaussian, pool = fit_ledoit_wolf(normals), sample(rng, 40)[0]
    odd = pool.copy()
    odd[0] *= 100
    changed = held_out_along(gaussian, odd)
    assert changed[0] == pytest.approx(100 * held_out_along(gaussian, pool)[0], rel=0.2)
    assert changed[0] < fit_direction(gaussian, odd).along(odd)[0] / 2


def test_the_gate_of_older_model_files_follows_from_their_evidence():
    shut, half, opened = (Direction(np.zeros(D * D), np.ones(D * D), evidence).gate for evidence in (0, 0.2, 1))
    assert (shut, half) == (0, 0.5)
    assert opened > 0.99


def test_labels_confirm_a_direction_that_points_at_them(rng):
    normal = Gaussian(np.zeros(40), np.eye(40))
    pool = rng.normal(size=(120, 40))
    pool[:40, :10] += 2
    there, like_the_pool = rng.normal(size=(2, 60, 40))
    there[:, :10] += 2
    like_the_pool[:20, :10] += 2
    each = np.arange(60)
    assert confirmed(normal, pool, there, each) == 1
    assert confirmed(normal, pool, like_the_pool, each) < 0.3
    assert confirmed(normal, pool, like_the_pool[20:], each[20:]) == 0


def test_each_labelled_patient_has_one_voice(rng):
    normal, pool = Gaussian(np.zeros(8), np.eye(8)), rng.normal(size=(60, 8))
    labelled = rng.normal(size=(3, 8))
    twice = np.vstack([labelled, labelled[:1], labelled[:1]])
    assert confirmed(normal, pool, twice, np.array([0, 1, 2, 0, 0])) == pytest.approx(
        confirmed(normal, pool, labelled, np.arange(3))
    )
