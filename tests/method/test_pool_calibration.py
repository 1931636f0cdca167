from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msde import MSDEDetector
from msde.method.pool_calibration import MovedToPool, move_of_normals
from msde.method.scorers import AdaptiveScorer


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "gamma", "lognormal"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_normals_of_a_pool_are_flagged_about_as_often_as_asked_wherever_they_score(kind, share):
    draw = {"normal": lambda rng, n: rng.normal(size=n), "gamma": lambda rng, n: rng.gamma(20, size=n) / 4.5}.get(
        kind, lambda rng, n: rng.lognormal(0, 0.2, size=n) * 5
    )
    flagged, before = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        held_out = draw(rng, 300)
        pool = draw(rng, 150) + 1.5 + 3 * (rng.random(150) < share)
        threshold = np.quantile(held_out, 0.95)
        new = draw(rng, 500) + 1.5
        before.append(np.mean(new > threshold))
        flagged.append(np.mean(new > threshold + move_of_normals(held_out, pool)))
    assert np.mean(before) > 0.3
    assert 0.02 < np.mean(flagged) < 0.075


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_normals_that_score_as_those_of_the_fit_leave_the_calibration(share):
    moves = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        pool = rng.normal(size=100) + 3 * (rng.random(100) < share)
        moves.append(move_of_normals(rng.normal(size=300), pool) > 0)
    assert np.mean(moves) <= 0.05


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(0, 60), st.floats(-50, 50))
@settings(max_examples=50)
def test_a_move_is_finite_and_never_lowers_the_threshold(seed, n, m, by):
    rng = np.random.default_rng(seed)
    move = move_of_normals(rng.normal(size=n), rng.normal(size=m) + by)
    assert np.isfinite(move)
    assert move >= 0


def test_scores_that_are_all_alike_do_not_move():
    assert move_of_normals(np.ones(50), np.full(50, 9.0)) == 0


@dataclass
class Given:
    scores: np.ndarray


def test_held_out_scores_move_together(rng):
    rows = rng.normal(size=(80, 6))
    scorer = MSDEDetector("adaptive").fit(rows, unlabelled=rows + 4).scorer_
    assert isinstance(scorer, AdaptiveScorer)
    held_out = Given(rng.normal(size=80))
    moved = MovedToPool(held_out, scorer, rows + 4)
    assert moved.move > 0
    np.testing.assert_allclose(moved.scores - held_out.scores, moved.move)
    assert len(MovedToPool(Given(np.empty(0)), scorer, rows).scores) == 0
