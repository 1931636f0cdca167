import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msde import MSDEDetector
from msde.method.calibration import Calibration, CrossFit, check_rate, folds, grouped, normals_needed
from msde.method.gaussian import fit_ledoit_wolf

scores = arrays(float, st.integers(1, 60), elements=st.integers(0, 20).map(float))
alphas = st.floats(0.001, 0.999)


@given(scores, scores, alphas)
def test_flagged_means_a_p_value_of_at_most_alpha(held_out, new, alpha):
    calibration = Calibration(np.sort(held_out), alpha, "test")
    p_values = calibration.p_values(new)
    np.testing.assert_array_equal(calibration.flagged(new), p_values <= alpha * (1 + 1e-9) + 1e-12)


@given(scores, scores)
def test_p_values_fall_as_scores_rise(held_out, new):
    p_values = Calibration(np.sort(held_out), 0.05, "test").p_values(np.sort(new))
    assert np.all(np.diff(p_values) <= 0)
    assert np.all((p_values >= 1 / (len(held_out) + 1)) & (p_values <= 1))


@given(scores, scores)
def test_p_values_follow_their_definition(held_out, new):
    expected = [(np.sum(held_out >= score) + 1) / (len(held_out) + 1) for score in new]
    np.testing.assert_allclose(Calibration(np.sort(held_out), 0.05, "test").p_values(new), expected)


def test_too_few_normals_flag_nothing():
    calibration = Calibration(np.arange(18.0), 0.05, "test")
    assert calibration.threshold == float("inf")
    assert not calibration.flagged(np.array([1e9])).any()
    assert Calibration(np.arange(19.0), 0.05, "test").flagged(np.array([1e9])).all()


def test_an_image_without_score_has_no_p_value_and_is_not_flagged():
    calibration = Calibration(np.arange(99.0), 0.05, "test")
    assert np.isnan(calibration.p_values(np.array([np.nan]))[0])
    assert not calibration.flagged(np.array([np.nan]))[0]


@pytest.mark.parametrize("n", [2, 3, 9, 10, 11, 57, 309, 1000])
def test_each_row_is_in_one_fold_and_neighbours_stay_together(n):
    dealt = list(folds(n))
    np.testing.assert_array_equal(np.sort(np.concatenate(dealt)), np.arange(n))
    sizes = [len(fold) for fold in dealt]
    run = max(5, n // 100)
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= run
    if n >= 50:
        assert all(np.all(np.diff(fold[:run]) == 1) for fold in dealt)


@given(st.lists(st.integers(1, 12), max_size=30), st.integers(0, 40))
def test_volumes_are_held_out_whole(sizes, n_alone):
    rows = np.random.default_rng(0).permutation(sum(sizes) + n_alone)
    volumes = [volume.tolist() for volume in np.split(rows, np.cumsum(sizes))[:-1]] if sizes else []
    groups = grouped(len(rows), volumes)
    assert set(groups.tolist()) == set(range(len(set(groups.tolist()))))
    if len(rows) < 1 or groups.max() < 1:
        return
    dealt = list(folds(len(rows), groups))
    np.testing.assert_array_equal(np.sort(np.concatenate(dealt)), np.arange(len(rows)))
    assert all(0 < len(fold) < len(rows) for fold in dealt)
    for volume in volumes:
        assert sum(bool(set(volume) & set(fold.tolist())) for fold in dealt) == 1


def test_a_row_of_several_volumes_is_the_first_ones():
    assert grouped(5, [[0, 1], [1, 2]]).tolist() == [0, 0, 1, 2, 2]


@given(scores, st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_any_rate_that_a_file_holds_has_a_threshold(held_out, alpha):
    calibration = Calibration(np.sort(held_out), alpha, "test")
    assert calibration.threshold in {*held_out, np.inf}
    assert calibration.rank <= len(held_out)
    assert (calibration.rank > 0) == (len(held_out) >= normals_needed(alpha))


@pytest.mark.parametrize("alpha", [0, 5e-324, 1e-9, 1 - 1e-9, 1 - 2**-53, 1, np.nan])
def test_a_rate_so_near_an_end_that_it_has_no_rank_is_refused(alpha, rng):
    with pytest.raises(ValueError, match="alpha"):
        check_rate(alpha)
    with pytest.raises(ValueError, match="alpha"):
        MSDEDetector(alpha=alpha).fit(rng.normal(size=(30, 4)))


@pytest.mark.parametrize(("alpha", "held_out"), [(0, [1]), (1, [1]), (np.nan, [1]), (0.1, [2, 1]), (0.1, [np.nan])])
def test_values_that_cannot_calibrate_are_refused(alpha, held_out):
    with pytest.raises(ValueError, match=r"alpha|ascending"):
        Calibration(np.array(held_out, float), alpha, "test")


def test_held_out_normals_are_flagged_about_as_often_as_asked(rng):
    shares = []
    for _ in range(40):
        rows, new = rng.normal(size=(200, 5)), rng.normal(size=(200, 5))

        class Scorer:
            batchwise = False

            def __init__(self, rows):
                self.score = fit_ledoit_wolf(rows).mahalanobis

        held_out = CrossFit(rows, Scorer).scores  # type: ignore[arg-type]
        shares.append(Calibration(np.sort(held_out), 0.1, "test").flagged(Scorer(rows).score(new)).mean())
    assert np.mean(shares) == pytest.approx(0.1, abs=0.02)
