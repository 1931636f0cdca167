import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from msde.method.labelled import Labelled, discrimination, weighted_areas


def labelled(rng, n=80, m=60, shift=1.0, patients=None):
    scores = np.concatenate([rng.normal(size=n), rng.normal(shift, 1, size=m)])
    return Labelled(scores, np.repeat([False, True], [n, m]), np.arange(n + m) if patients is None else patients)


def test_areas_are_scikit_learns_also_with_equal_scores_and_at_another_share(rng):
    given = labelled(rng)
    coarse = Labelled(np.round(given.scores), given.abnormal, given.patients)
    for one in (given, coarse):
        result = discrimination(one, n_resamples=200)
        assert result.auroc.value == pytest.approx(roc_auc_score(one.abnormal, one.scores))
        assert result.ap.value == pytest.approx(average_precision_score(one.abnormal, one.scores))
        assert result.auroc.low < result.auroc.value < result.auroc.high
        weights = np.where(one.abnormal, 0.05 / 60, 0.95 / 80)
        expected = average_precision_score(one.abnormal, one.scores, sample_weight=weights)
        assert weighted_areas(one, 0.05) == pytest.approx((result.auroc.value, expected))


def test_several_images_of_a_patient_widen_the_interval(rng):
    alone = labelled(rng)
    copied = Labelled(*(np.repeat(part, 4) for part in (alone.scores, alone.abnormal, alone.patients)))
    as_images = Labelled(copied.scores, copied.abnormal, np.arange(len(copied.scores)))
    width = [np.subtract(*(lambda m: (m.high, m.low))(discrimination(x).auroc)) for x in (alone, copied, as_images)]
    assert width[1] == pytest.approx(width[0], rel=1e-9)
    assert width[2] < 0.7 * width[0]


def test_draws_do_not_depend_on_how_many_are_made_at_a_time(rng, monkeypatch):
    one = labelled(rng)
    at_once = np.vstack(list(one.resampled(50)))
    monkeypatch.setattr("msde.method.labelled._CHUNK", 7)
    np.testing.assert_array_equal(np.vstack(list(one.resampled(50))), at_once)
