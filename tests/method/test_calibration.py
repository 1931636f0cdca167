import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import ndtr

from msde import MSDEDetector
from msde.method.calibration import (
    Calibration,
    CrossFit,
    check_rate,
    folds,
    grouped,
    normals_needed,
)
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


@st.composite
def grouped_scores(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=15))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return draw(arrays(float, len(groups), elements=st.integers(0, 30).map(float))), groups


confidences = st.one_of(st.none(), st.floats(0.01, 0.99))


@given(grouped_scores(), scores, alphas, confidences)
def test_flagged_means_a_p_value_of_at_most_alpha_with_groups_too(held_out, new, alpha, confidence):
    calibration = Calibration.of(held_out[0], alpha, "test", held_out[1], confidence)
    p_values = calibration.p_values(new)
    np.testing.assert_array_equal(calibration.flagged(new), p_values <= alpha * (1 + 1e-9))
    assert np.all(np.diff(calibration.p_values(np.sort(new))) <= 0)
    assert np.all((p_values >= calibration.resolution) & (p_values <= 1))


@given(grouped_scores(), scores, st.randoms(use_true_random=False))
def test_neither_the_order_nor_the_names_of_groups_matter(held_out, new, random):
    values, groups = held_out
    order, names = list(range(len(values))), list(range(100, 100 + groups.max() + 1))
    random.shuffle(order)
    random.shuffle(names)
    other = Calibration.of(values[order], 0.05, "test", np.array(names)[groups][order])
    np.testing.assert_array_equal(Calibration.of(values, 0.05, "test", groups).p_values(new), other.p_values(new))


@given(scores, scores, alphas, confidences)
def test_groups_of_one_are_no_groups(held_out, new, alpha, confidence):
    alone, each = (
        Calibration.of(held_out, alpha, "test", groups, confidence) for groups in (None, np.arange(len(held_out)))
    )
    np.testing.assert_allclose(each.p_values(new), alone.p_values(new), rtol=1e-12)
    assert each.n_units == alone.n_units == len(held_out)


@pytest.mark.parametrize("size", [2, 30])
def test_images_of_a_patient_that_are_all_alike_count_once(size):
    patients = np.arange(40.0)
    calibration = Calibration.of(np.repeat(patients, size), 0.05, "test", np.repeat(np.arange(40), size))
    alone = Calibration.of(patients, 0.05, "test")
    new = np.arange(-1.0, 41) + 0.5
    np.testing.assert_allclose(calibration.p_values(new), alone.p_values(new), atol=1.01 / 41)
    assert calibration.threshold == alone.threshold
    assert calibration.far_range() == pytest.approx(alone.far_range())


@pytest.mark.parametrize(("n_groups", "size", "alike"), [(10, 30, 0.3), (38, 8, 0.6), (60, 5, 0.0), (60, 5, 0.9)])
def test_new_patients_are_flagged_as_often_as_asked(rng, n_groups, size, alike):
    groups = np.repeat(np.arange(n_groups), size)
    pooled, whole = [], []
    for _ in range(400):
        values = np.sqrt(alike) * rng.normal(size=n_groups)[groups] + np.sqrt(1 - alike) * rng.normal(size=len(groups))
        whole.append(ndtr(-Calibration.of(values, 0.05, "test", groups).threshold))
        pooled.append(ndtr(-Calibration.of(values, 0.05, "test").threshold))
    assert np.mean(whole) == pytest.approx(0.05, rel=0.2)
    assert abs(np.mean(whole) - 0.05) < max(abs(np.mean(pooled) - 0.05), 0.006)


@pytest.mark.parametrize(
    ("n", "low", "high"), [(24, 0.002, 0.117), (39, 0.009, 0.116), (58, 0.006, 0.079), (300, 0.031, 0.072)]
)
def test_the_range_of_a_models_own_rate_is_a_beta_distributions(n, low, high):
    assert Calibration.of(np.arange(float(n)), 0.05, "test").far_range() == pytest.approx((low, high), abs=6e-4)


def test_a_model_that_flags_nothing_has_no_false_alarms():
    assert Calibration.of(np.arange(5.0), 0.05, "test").far_range() == (0, 0)


@pytest.mark.parametrize(
    ("n", "alpha", "useful"),
    [(0, 0.05, 19), (18, 0.05, 19), (19, 0.05, 39), (24, 0.05, 39), (300, 0.05, 319), (99, 0.01, 199), (7, 0.3, 9)],
)
def test_the_next_useful_number_of_normals_lets_one_more_be_flagged(n, alpha, useful):
    calibration = Calibration.of(np.arange(float(n)), alpha, "test")
    assert calibration.next_useful == useful
    at, before = (int(alpha * (count + 1) + 1e-9) for count in (useful, useful - 1))
    assert at == before + 1 == int(alpha * (n + 1) + 1e-9) + 1


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 300])
def test_a_threshold_with_confidence_holds_with_that_probability(rng, n):
    rates = [ndtr(-Calibration.of(rng.normal(size=n), 0.1, "test", confidence=0.9).threshold) for _ in range(2000)]
    assert np.mean(np.array(rates) <= 0.1) >= 0.9 - 0.03
    assert np.mean(rates) > 0.03


@pytest.mark.parametrize("groups", [np.array([0]), np.array([0.0, 1.0]), np.array([0, -1])])
def test_groups_that_do_not_fit_the_scores_are_refused(groups):
    with pytest.raises(ValueError, match="groups of calibration"):
        Calibration(np.array([1.0, 2.0]), 0.1, "test", groups)


def test_a_confidence_that_is_none_is_refused():
    with pytest.raises(ValueError, match="confidence"):
        Calibration(np.array([1.0]), 0.1, "test", confidence=1.0)


@given(grouped_scores())
def test_a_group_with_the_highest_ranks_speaks_once(held_out):
    """The p-value of a rank is the share of held-out images that it would flag among the scores of other groups."""
    values, groups = held_out
    calibration = Calibration.of(values, 0.05, "test", groups)
    above = np.array([np.sum(values[groups != group] >= value) for value, group in zip(values, groups, strict=True)])
    n, n_groups = len(values), groups.max() + 1
    new = np.unique(values[values > values.min()]) + 0.5
    counts = np.array([np.sum(values >= score) for score in new], dtype=int)
    expected = [max(np.sum(above <= count), count + 1) * n_groups / (n * (n_groups + 1)) for count in counts]
    np.testing.assert_allclose(calibration.p_values(new), np.minimum(expected, 1))
