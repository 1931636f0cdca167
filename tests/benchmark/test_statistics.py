import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from msde.benchmark.statistics import (
    GRID,
    compare,
    critical_difference,
    friedman,
    holm,
    precision_band,
    ranks,
    roc_band,
    wilcoxon,
)
from msde.method.labelled import Labelled


def labelled(rng, n=80, m=60, shift=1.0, patients=None):
    scores = np.concatenate([rng.normal(size=n), rng.normal(shift, 1, size=m)])
    return Labelled(scores, np.repeat([False, True], [n, m]), np.arange(n + m) if patients is None else patients)


def delong(one, other):
    """The test as the definition has it, by all pairs of images."""
    kernels = []
    for x in (one, other):
        a, n = x.scores[x.abnormal][:, None], x.scores[~x.abnormal][None]
        kernels.append((a > n) + 0.5 * (a == n))
    apart = kernels[0].mean() - kernels[1].mean()
    rows, columns = (np.array([k.mean(axis=axis) for k in kernels]) for axis in (1, 0))
    contrast = np.array([1, -1])
    variance = sum(contrast @ np.cov(part) @ contrast / part.shape[1] for part in (rows, columns))
    return apart, 2 * stats.norm.sf(abs(apart) / np.sqrt(variance))


def test_pairs_are_compared_as_delong_does_where_each_image_is_a_patient(rng):
    one = labelled(rng)
    other = Labelled(np.round(one.scores + rng.normal(size=140), 1), one.abnormal, one.patients)
    result = compare(one, other)
    assert (result.value, result.p_value) == pytest.approx(delong(one, other))
    assert result.low < result.value < result.high


def test_copies_of_images_give_no_evidence(rng):
    one = labelled(rng)
    other = Labelled(one.scores + rng.normal(size=140), one.abnormal, one.patients)
    copies = [Labelled(*(np.repeat(p, 5) for p in (x.scores, x.abnormal, x.patients))) for x in (one, other)]
    assert compare(*copies).p_value == pytest.approx(compare(one, other).p_value)


def test_equal_detectors_do_not_differ_and_the_test_holds_its_level(rng):
    one = labelled(rng)
    assert compare(one, one).p_value == 1
    rejected = 0
    for _ in range(200):
        truth = labelled(rng)
        pair = [Labelled(truth.scores + rng.normal(size=140), truth.abnormal, truth.patients // 2) for _ in range(2)]
        rejected += compare(*pair).p_value < 0.05
    assert rejected <= 22


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_adjusted_p_values_keep_their_order_and_are_no_smaller(p_values):
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    assert all(a <= b for (_, a), (_, b) in zip(*(2 * [sorted(zip(p_values, adjusted, strict=True))]), strict=True))
    assert max(adjusted) <= 1


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_ranks_and_critical_difference_as_in_demsars_paper():
    # Table 5a there: q_0.05 is 2.569 for four detectors; section 3.2.2 has CD = 1.25 for fourteen sets.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)
    figures = np.array([[0.9, 0.8, 0.7], [0.6, 0.6, 0.5]])
    assert ranks(figures) == pytest.approx([1.25, 1.75, 3])


def test_few_sets_show_nothing(rng):
    figures = np.array([0.9, 0.5, 0.4])[None] + rng.normal(0, 0.01, size=(5, 3))
    assert min(wilcoxon(figures, 0)) >= 0.0625
    assert friedman(figures) < 0.05
    assert np.isnan(friedman(figures[:1]))


def test_bands_hold_their_curves_and_end_where_they_must(rng):
    one = labelled(rng)
    roc, precision = roc_band(one), precision_band(one)
    assert (roc.low <= roc.high).all()
    assert (np.diff(roc.middle) >= 0).all()
    assert roc.middle[-1] == 1
    assert np.trapezoid(roc.middle, GRID) == pytest.approx(roc_auc_score(one.abnormal, one.scores), abs=0.01)
    assert precision.middle[-1] == pytest.approx(one.abnormal.mean(), abs=0.1)
    assert (np.diff(precision.middle) <= 0).all()
