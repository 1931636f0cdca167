import numpy as np
import pytest

from msde import MSDEDetector
from msde.method.inductive_fit import fit_inductive
from msde.method.metrics import auroc
from msde.method.scorers import AdaptiveScorer, InductiveScorer, LabelledScorer
from msde.method.standardizer import CompressingStandardizer


@pytest.fixture(scope="module")
def rows():
    """Training normals, other normals, and abnormal rows that lie in one direction."""
    rng = np.random.default_rng(3)
    normals, others, abnormal = (rng.normal(size=(n, 12)).astype(np.float32) for n in (120, 400, 60))
    abnormal[:, 0] += 2
    return normals, others, abnormal


@pytest.fixture(scope="module")
def fitted(rows):
    normals, _, abnormal = rows
    return MSDEDetector(alpha=0.1).fit(normals, abnormal=abnormal[:20])


def test_labels_find_more_at_the_stated_false_alarm_rate(rows, fitted):
    normals, others, abnormal = rows
    alone = MSDEDetector(alpha=0.1).fit(normals)
    found = {detector: (detector.predict(abnormal[20:]) < 0).mean() for detector in (alone, fitted)}
    assert found[fitted] > found[alone] + 0.1
    assert (fitted.predict(others) < 0).mean() == pytest.approx(0.1, abs=0.06)


@pytest.mark.slow
@pytest.mark.shared
def test_labels_find_more_on_real_images_at_the_stated_false_alarm_rate(shared):
    with np.load(shared / "golden" / "nih_cxr_pneumonia_M.npz") as file:
        train, test, label = file["train"], file["test"], file["label"]
    normals, abnormal = test[label == 0], test[label == 1]
    alone, fitted = MSDEDetector(alpha=0.1).fit(train), MSDEDetector(alpha=0.1).fit(train, abnormal=abnormal[::20])
    tested = abnormal[np.arange(len(abnormal)) % 20 > 0]
    before, after = (auroc(*map(detector.anomaly_score, (normals, tested))) for detector in (alone, fitted))
    assert after > before + 0.03
    allowed = 4 * np.sqrt(0.1 * 0.9 * (1 / len(normals) + 1 / len(train)))
    assert abs((fitted.predict(normals) < 0).mean() - 0.1) <= allowed


def test_a_score_does_not_depend_on_the_batch(rows, fitted):
    _, others, _ = rows
    together = fitted.anomaly_score(others[:30])
    alone = np.concatenate([fitted.anomaly_score(row[None]) for row in others[:30]])
    np.testing.assert_allclose(together, alone, rtol=1e-6)


@pytest.mark.slow
def test_without_labels_nothing_changes(rows):
    normals, others, _ = rows
    assert isinstance(MSDEDetector().fit(normals).scorer_, InductiveScorer)
    fitted = MSDEDetector().fit(normals, abnormal=others[:3])
    assert isinstance(fitted.scorer_, LabelledScorer)
    np.testing.assert_allclose(
        fitted.scorer_.scorer.score(others), MSDEDetector().fit(normals).anomaly_score(others), rtol=1e-9
    )


def test_patients_of_labels_are_told_by_names(rows):
    normals, _, abnormal = rows
    four, two = (
        MSDEDetector().fit(normals, abnormal=abnormal[:4], abnormal_groups=groups).scorer_
        for groups in (None, ["b", "a", "a", "b"])
    )
    assert isinstance(four, LabelledScorer)
    assert isinstance(two, LabelledScorer)
    assert four.blend.prior > two.blend.prior


def test_labels_go_with_position_too(rows):
    normals, others, abnormal = rows
    fitted = MSDEDetector(shift=None, gaussian="pca").fit(normals, abnormal=abnormal[:5])
    assert np.isfinite(fitted.anomaly_score(others)).all()


def test_a_label_among_the_normals_is_refused_and_named(rows):
    normals, _, abnormal = rows
    with pytest.raises(ValueError, match=r"1 labelled abnormal rows are among the normals: \[2\]"):
        MSDEDetector().fit(normals, abnormal=np.vstack([abnormal[:2], normals[7:8]]))


def test_labels_are_refused_in_transductive_mode(rows):
    normals, _, abnormal = rows
    with pytest.raises(ValueError, match="'inductive' or 'adaptive'"):
        MSDEDetector("transductive").fit(normals[:30], abnormal=abnormal[:3])


@pytest.fixture(scope="module")
def moved():
    """Normals, a pool whose outer rows lie in one direction, abnormal rows there, and others elsewhere."""
    rng = np.random.default_rng(5)
    normals, pool, there, elsewhere = (rng.normal(size=(n, 60)).astype(np.float32) for n in (300, 200, 30, 30))
    pool[:80, :20] += 1
    there[:, :20] += 1
    elsewhere[:, 20:40] += 1
    return normals, pool, there, elsewhere


@pytest.mark.slow
def test_labels_decide_whether_the_pool_points_at_disease(moved):
    normals, pool, there, elsewhere = moved

    def weight(**labels):
        scorer = MSDEDetector("adaptive").fit(normals, unlabelled=pool, **labels).scorer_
        assert isinstance(scorer, AdaptiveScorer | LabelledScorer)
        assert scorer.direction is not None
        return scorer.direction.weight

    assert weight() > 0.1
    assert weight(abnormal=there[:3]) > 0.1
    assert weight(abnormal=elsewhere[:3]) < 0.02


@pytest.mark.slow
def test_a_pool_and_labels_keep_the_false_alarm_rate(moved):
    normals, pool, there, _ = moved
    fitted = MSDEDetector("adaptive", alpha=0.1).fit(normals[:200], unlabelled=pool, abnormal=there[:5])
    assert (fitted.predict(normals[200:]) < 0).mean() == pytest.approx(0.1, abs=0.09)
    together = fitted.anomaly_score(pool[:20])
    np.testing.assert_allclose(np.concatenate([fitted.anomaly_score(row[None]) for row in pool[:20]]), together)


@pytest.mark.slow
def test_what_is_labelled_is_left_out_of_the_pool(moved):
    normals, pool, _, _ = moved
    with_labels, without = (
        MSDEDetector("adaptive").fit(normals, unlabelled=rows, abnormal=pool[:5]) for rows in (pool, pool[5:])
    )
    np.testing.assert_array_equal(with_labels.anomaly_score(pool), without.anomaly_score(pool))


def test_a_pool_of_labelled_rows_alone_is_refused(moved):
    normals, pool, _, _ = moved
    with pytest.raises(ValueError, match="all 5 unlabelled rows are labelled abnormal"):
        MSDEDetector("adaptive").fit(normals, unlabelled=pool[:5], abnormal=pool[:9])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["inductive", "adaptive"])
def test_all_normals_and_those_without_each_fold_are_fitted_once(moved, mode, monkeypatch):
    normals, pool, there, _ = moved
    sizes = []

    def counting(rows, **settings):
        sizes.append(len(rows))
        return fit_inductive(rows, **settings)

    monkeypatch.setattr("msde.method.detection.fit_inductive", counting)
    fitted = MSDEDetector(mode).fit(normals[:150], unlabelled=pool if mode == "adaptive" else None, abnormal=there[:3])
    assert sorted(sizes) == [135] * 10 + [150]
    assert len(fitted.cross_fitted_scores()) == 150


@pytest.mark.parametrize("method", ["score", "known", "held_out_of_direction"])
def test_rows_are_standardised_once(rows, fitted, method, monkeypatch):
    apply, sizes = CompressingStandardizer.apply, []

    def counting(standardizer, given):
        sizes.append(len(given))
        return apply(standardizer, given)

    monkeypatch.setattr(CompressingStandardizer, "apply", counting)
    getattr(fitted.scorer_, method)(rows[1])
    assert sizes == [400]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"abnormal_groups": [1]}, "give fit"),
        ({"abnormal": np.zeros((2, 12)), "abnormal_groups": [1]}, r"shape \(2,\)"),
        ({"abnormal": np.zeros((2, 5))}, "features"),
        ({"abnormal": np.full((1, 12), np.nan)}, "NaN"),
        ({"abnormal": np.zeros((0, 12))}, "0 sample"),
    ],
)
def test_bad_labels_are_refused(rows, arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        MSDEDetector().fit(rows[0], **arguments)
