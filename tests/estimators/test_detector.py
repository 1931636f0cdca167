import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msde import MeanShiftEnhancer, MSDEDetector
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.scorers import InductiveScorer
from msde.method.standardizer import Standardizer

MODES = ["inductive", "adaptive", "transductive"]


def fit(detector, rows):
    """Fit, with a pool where the mode wants one."""
    pool = np.vstack([rows[::3], rows[::4] + 2]) if detector.mode == "adaptive" else None
    return detector.fit(rows, unlabelled=pool)


@pytest.fixture(scope="module", params=["inductive", "adaptive"])
def fitted(request):
    rng = np.random.default_rng(5)
    return fit(MSDEDetector(request.param), rng.normal(size=(150, 12)).astype(np.float32))


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=30)
def test_a_score_does_not_depend_on_batch_order_or_copies(fitted, seed, n):
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(n, 12)) * 3).astype(np.float32)
    together = fitted.anomaly_score(rows)
    alone = np.concatenate([fitted.anomaly_score(row[None]) for row in rows])
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    order = rng.permutation(n)
    np.testing.assert_allclose(fitted.anomaly_score(rows[order]), together[order], rtol=1e-6)
    np.testing.assert_allclose(fitted.anomaly_score(np.vstack([rows, rows]))[n:], together, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_scoring_does_not_change_the_frozen_state(rng, mode):
    detector = fit(MSDEDetector(mode, enhancer=MeanShiftEnhancer(10)), rng.normal(size=(60, 5)))
    rows = rng.normal(size=(20, 5))
    before = detector.anomaly_score(rows)
    detector.anomaly_score(rng.normal(size=(33, 5)) * 9)
    np.testing.assert_allclose(detector.anomaly_score(rows), before, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [2, 3, 49, 50, 51, 101])
def test_any_number_of_normals_from_two_on_will_do(rng, mode, n):
    detector = fit(MSDEDetector(mode), rng.normal(size=(n, 8)))
    scores = detector.anomaly_score(rng.normal(size=(5, 8)))
    assert np.all(np.isfinite(scores))
    assert np.all(detector.p_values(scores[:, None].repeat(8, 1)) > 0)


def test_one_normal_is_refused():
    with pytest.raises(ValueError, match="minimum of 2"):
        MSDEDetector().fit(np.ones((1, 4)))


@pytest.mark.parametrize("mode", MODES)
def test_identical_normals_have_finite_scores_and_a_different_row_stands_out(mode):
    pool = np.ones((20, 4)) if mode == "adaptive" else None
    detector = MSDEDetector(mode).fit(np.ones((60, 4)), unlabelled=pool)
    same, other = detector.anomaly_score(np.array([[1.0] * 4, [3.0] * 4]))
    assert np.isfinite(other)
    assert same < other


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(fitted, value):
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        fitted.anomaly_score(np.full((1, 12), value))


def test_a_wrong_number_of_features_is_named(fitted):
    with pytest.raises(ValueError, match="11 features, but MSDEDetector is expecting 12"):
        fitted.anomaly_score(np.ones((1, 11)))


@pytest.mark.parametrize(("mode", "pool"), [("adaptive", None), ("inductive", np.eye(4))])
def test_a_pool_goes_with_adaptive_mode_only(mode, pool):
    with pytest.raises(ValueError, match="unlabelled"):
        MSDEDetector(mode).fit(np.eye(4), unlabelled=pool)


def test_a_pool_of_another_width_is_refused():
    with pytest.raises(ValueError, match="3 features"):
        MSDEDetector("adaptive").fit(np.eye(4), unlabelled=np.ones((5, 3)))


def test_unknown_settings_are_named():
    with pytest.raises(ValueError, match="'sideways'"):
        MSDEDetector("sideways").fit(np.eye(9))  # type: ignore[arg-type]
    for alpha in (0, 1, 2, np.nan):
        with pytest.raises(ValueError, match="alpha"):
            MSDEDetector(alpha=alpha).fit(np.eye(9))


@pytest.mark.shared
def test_inductive_mode_is_no_worse_than_the_plain_gaussian(shared):
    with np.load(shared / "golden" / "nih_cxr_pneumonia_M.npz") as file:
        train, test, label = file["train"], file["test"], file["label"]
    from sklearn.metrics import roc_auc_score

    standardizer = Standardizer.fit(train)
    plain = fit_ledoit_wolf(standardizer.apply(train)).mahalanobis(standardizer.apply(test))
    ours = MSDEDetector().fit(train).anomaly_score(test)
    assert roc_auc_score(label, ours) >= roc_auc_score(label, plain) - 0.005


def test_the_transductive_score_depends_on_the_batch_as_published(rng):
    detector = MSDEDetector("transductive").fit(rng.normal(size=(80, 5)))
    rows = rng.normal(size=(40, 5)) + 2
    assert not np.allclose(detector.anomaly_score(rows)[0], detector.anomaly_score(rows[:1])[0])


@pytest.mark.slow
@pytest.mark.shared
def test_normals_of_other_patients_are_flagged_about_as_often_as_asked(shared):
    """The golden chest X-rays: no test patient is in the training set."""
    with np.load(shared / "golden" / "nih_cxr_pneumonia_M.npz") as file:
        train, normals = file["train"], file["test"][file["label"] == 0]
    for alpha in (0.05, 0.1, 0.2):
        flagged = np.mean(MSDEDetector(alpha=alpha).fit(train).predict(normals) == -1)
        # Four deviations of a binomial share, of the test set and of the calibration set.
        allowed = 4 * np.sqrt(alpha * (1 - alpha) * (1 / len(normals) + 1 / len(train)))
        assert abs(flagged - alpha) <= allowed, alpha


@pytest.mark.slow
def test_rows_of_one_group_are_held_out_together(rng):
    def groups_of_alike(n):
        return np.repeat(rng.normal(size=(n, 20)), 12, axis=0) + rng.normal(scale=0.1, size=(n * 12, 20))

    rows, new = groups_of_alike(30), groups_of_alike(30)
    numbers = np.repeat(np.arange(30), 12)
    whole = MSDEDetector().fit(rows, groups=numbers)
    scores = whole.cross_fitted_scores()
    for number in (0, 17):
        alone = MSDEDetector().fit(rows[numbers != number]).anomaly_score(rows[numbers == number])
        np.testing.assert_allclose(scores[numbers == number], alone, rtol=0.1)
    apart = MSDEDetector().fit(rows, groups=np.arange(len(rows))).cross_fitted_scores().mean()
    unseen = whole.anomaly_score(new).mean()
    assert apart < scores.mean()
    assert abs(scores.mean() - unseen) < 0.5 * abs(apart - unseen)


@pytest.mark.parametrize("groups", [[0, 1], [0, 0, 0], ["a", "a", "a"], [[0], [1], [2]], [0, np.nan, 1]])
def test_groups_that_are_none_are_refused(rng, groups):
    with pytest.raises(ValueError, match="groups must"):
        MSDEDetector().fit(rng.normal(size=(3, 4)), groups=groups)


def test_neither_names_of_groups_nor_the_order_of_rows_matter(rng):
    rows, numbers = rng.normal(size=(60, 8)), np.arange(60) // 4
    names = np.array([f"patient {number * 7 % 15}" for number in numbers])
    order = rng.permutation(60)
    expected = MSDEDetector().fit(rows, groups=numbers)
    assert expected.calibration_.n_units == 15
    for groups in (names, list(names), numbers * -7.5):
        other = MSDEDetector().fit(rows, groups=groups)
        np.testing.assert_allclose(other.cross_fitted_scores(), expected.cross_fitted_scores())
    moved = MSDEDetector().fit(rows[order], groups=names[order])
    np.testing.assert_allclose(moved.cross_fitted_scores(), expected.cross_fitted_scores()[order], rtol=1e-3)
    assert moved.calibration_.threshold == pytest.approx(expected.calibration_.threshold, rel=1e-3)


def test_without_groups_neighbours_are_held_out_together_and_each_row_counts(rng):
    patients = np.repeat(rng.normal(size=(20, 40)), 5, axis=0)
    rows = patients + 0.1 * rng.normal(size=patients.shape)
    detector = MSDEDetector().fit(rows)
    assert detector.calibration_.groups is None
    assert detector.calibration_.n_units == 100
    by_patient = MSDEDetector().fit(rows, groups=np.arange(100) // 5).cross_fitted_scores().mean()
    assert detector.cross_fitted_scores().mean() == pytest.approx(by_patient, rel=0.1)


def test_the_published_weights_and_gaussian_go_with_a_shift_of_one_row_alone(rng):
    rows = rng.normal(size=(80, 30))
    plain, published = MSDEDetector().fit(rows), MSDEDetector(weighting="published").fit(rows)
    assert not np.allclose(plain.anomaly_score(rows), published.anomaly_score(rows))
    reduced = MSDEDetector(gaussian="pca").fit(rows).scorer_
    assert isinstance(reduced, InductiveScorer)
    assert reduced.gaussian.whitening.shape == (30, 30)
    with pytest.raises(ValueError, match="weighting"):
        MSDEDetector(weighting="heavy").fit(rows)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gaussian"):
        MSDEDetector(gaussian="none").fit(rows)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Ledoit-Wolf"):
        MSDEDetector("adaptive", gaussian="pca").fit(rows, unlabelled=rows)
    with pytest.raises(ValueError, match="shift must be"):
        MSDEDetector(shift="sideways").fit(rows)  # type: ignore[arg-type]


def test_a_pool_without_evidence_leaves_the_scores_of_inductive_mode(rng):
    normals, pool, new = (rng.normal(size=(n, 6)) for n in (80, 60, 30))
    adaptive = MSDEDetector("adaptive").fit(normals, unlabelled=pool)
    np.testing.assert_array_equal(adaptive.anomaly_score(new), MSDEDetector().fit(normals).anomaly_score(new))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_adaptive_mode_flags_normals_of_the_pool_about_as_often_as_asked(share):
    flagged: dict[str, list[float]] = {"adaptive": [], "inductive": []}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        normals, pool, new = (rng.normal(size=(n, 20)) for n in (200, 200, 300))
        pool += 0.6
        new += 0.6
        pool[: round(share * len(pool)), 0] += 5
        adaptive = MSDEDetector("adaptive").fit(normals, unlabelled=pool)
        for mode, detector in (("adaptive", adaptive), ("inductive", MSDEDetector().fit(normals))):
            flagged[mode].append(float(np.mean(detector.predict(new) < 0)))
        assert "moved to the pool" in adaptive.calibration_.source
    assert np.mean(flagged["inductive"]) > 0.2
    assert 0.005 < np.mean(flagged["adaptive"]) < 0.09


def test_a_distrusted_row_is_fitted_in_adaptive_mode_as_in_inductive(rng):
    normals = rng.normal(size=(100, 6))
    normals[0] += 8
    adaptive = MSDEDetector("adaptive").fit(normals, unlabelled=normals)
    assert not adaptive.trusted_[0]
    np.testing.assert_array_equal(adaptive.anomaly_score(normals), MSDEDetector().fit(normals).anomaly_score(normals))
