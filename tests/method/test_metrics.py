import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from msde.method.metrics import discrimination, wilson


def test_figures_are_scikit_learns_and_lie_in_their_intervals(rng):
    normal, abnormal = rng.normal(size=80), rng.normal(1, 1, size=60)
    result = discrimination(normal, abnormal, n_resamples=200)
    labels, scores = np.repeat([0, 1], [80, 60]), np.concatenate([normal, abnormal])
    assert result.auroc.value == pytest.approx(roc_auc_score(labels, scores))
    assert result.ap.value == pytest.approx(average_precision_score(labels, scores))
    for metric in (result.auroc, result.ap):
        assert metric.low < metric.value < metric.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says(rng):
    # Two normals one deviation apart have an AUROC of .760.
    covered = 0
    for _ in range(60):
        result = discrimination(rng.normal(size=60), rng.normal(1, 1, size=60), n_resamples=100)
        covered += result.auroc.low <= 0.7602 <= result.auroc.high
    assert covered >= 50


def test_one_image_a_class_has_figures():
    assert discrimination(np.array([0.0]), np.array([1.0]), n_resamples=10).auroc.value == 1


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_stays_between_nought_and_one(counts):
    k, n = counts
    low, high = wilson(k, n)
    assert 0 <= low <= k / n + 1e-12
    assert k / n - 1e-12 <= high <= 1
    mirrored = wilson(n - k, n)
    assert np.allclose((low, high), (1 - mirrored[1], 1 - mirrored[0]))
