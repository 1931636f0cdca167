import numpy as np
import pytest

from msde.method.calibration import folds
from msde.method.discriminant import Discriminant
from msde.method.gaussian import fit_ledoit_wolf, fit_ridged
from msde.method.labelled_abnormals import RIDGE, Blend, Likeness, gate, soft_mean
from msde.method.labelled_fit import HeldOutNormals, familiar, fit_labelled
from msde.method.metrics import auroc
from msde.method.scorers import InductiveScorer
from msde.method.standardizer import CompressingStandardizer
from msde.method.surroundings import Surroundings, relative
from msde.method.weighing import Weighing


def fit(rows):
    standardizer = CompressingStandardizer.fit(rows)
    return InductiveScorer(standardizer, fit_ledoit_wolf(standardizer.apply(rows)))


@pytest.fixture
def data(rng):
    """Normals, and abnormal rows that lie no farther out but all in one direction."""
    normals = rng.normal(size=(120, 20))
    abnormal = rng.normal(size=(80, 20)) * 0.9
    abnormal[:, 0] += 2
    return normals, abnormal


def test_labels_find_what_the_distance_does_not(rng, data):
    normals, abnormal = data
    tested = rng.normal(size=(200, 20))
    fitted = fit_labelled(normals, abnormal[:40], fit, np.arange(40))
    alone = fitted.scorer.scorer
    before = auroc(alone.score(tested), alone.score(abnormal[40:]))
    assert auroc(fitted.scorer.score(tested), fitted.scorer.score(abnormal[40:])) > before + 0.1


@pytest.mark.parametrize("groups", [None, np.arange(120) % 17])
def test_a_held_out_normal_and_its_group_have_no_part_in_its_score(data, groups):
    normals, abnormal = data
    labels = abnormal[:6]
    scores = fit_labelled(normals, labels, fit, np.arange(6), groups).scores
    dealt = list(folds(len(normals), groups))
    distances, cosines = np.empty(len(normals)), np.empty((len(normals), 6))
    near, odds = {}, np.empty(len(normals))
    for number, fold in enumerate(dealt):
        others = np.delete(np.arange(len(normals)), fold)
        scorer = fit(normals[others])
        standard = scorer.standardizer.apply
        distances[fold] = scorer.score(normals[fold])
        seen = standard(normals[others])
        cosines[fold] = Likeness.fit(seen, standard(labels)).cosines(standard(normals[fold]))
        odds[fold] = Discriminant.fit(seen, standard(labels)).of(standard(normals[fold]))
        near[number] = others[Surroundings.of(seen, fit_ridged(seen, RIDGE)).near(standard(normals[fold]))]
    likeness = soft_mean(cosines)
    compared, told = np.empty(len(normals)), np.empty(len(normals))
    for number, fold in enumerate(dealt):
        compared[fold] = relative(likeness[fold], likeness[near[number]], np.delete(likeness, fold).var())
        told[fold] = odds[fold] - odds[near[number]].mean(axis=1)
    others = np.delete(np.arange(len(normals)), dealt[3])
    weighing = Weighing.fit(compared[others], told[others], 6)
    weighed = weighing.of(compared, told)
    slope = weighing.slope() * gate(distances[others], cosines[others], 6)
    blend = Blend.fit(distances[others], weighed[others], 6, slope)
    np.testing.assert_allclose(scores[dealt[3]], blend.score(distances[dealt[3]], weighed[dealt[3]]))
    assert not set(dealt[3]) & set(near[3].ravel())


def test_fits_to_other_labels_share_what_is_seen_of_the_normals(data):
    normals, abnormal = data
    held_out = HeldOutNormals.fit(normals, fit)
    for labels in (abnormal[:3], abnormal[10:20]):
        shared, alone = (
            held_out.with_labels(labels, np.arange(len(labels))),
            fit_labelled(normals, labels, fit, np.arange(len(labels))),
        )
        np.testing.assert_array_equal(shared.scores, alone.scores)
        np.testing.assert_array_equal(shared.scorer.score(abnormal), alone.scorer.score(abnormal))


def test_rows_of_one_patient_are_one_voice(data):
    normals, abnormal = data
    one = fit_labelled(normals, abnormal[:10], fit, np.zeros(10, dtype=int)).scorer
    ten = fit_labelled(normals, abnormal[:10], fit, np.arange(10)).scorer
    assert one.blend.prior < ten.blend.prior
    np.testing.assert_array_equal(one.likeness.labelled, ten.likeness.labelled)


def test_the_order_of_labels_does_not_matter(rng, data):
    normals, abnormal = data
    order = rng.permutation(12)
    rows = np.vstack([normals[:5], abnormal[20:25]])
    there, back = (fit_labelled(normals, abnormal[pick], fit, np.arange(12)) for pick in (np.arange(12), order))
    np.testing.assert_allclose(there.scorer.score(rows), back.scorer.score(rows))
    np.testing.assert_allclose(there.scores, back.scores)


def test_more_labels_than_normals_will_do(rng):
    fitted = fit_labelled(rng.normal(size=(25, 6)), rng.normal(size=(300, 6)) + 1, fit, np.arange(300))
    assert np.isfinite(fitted.scorer.score(rng.normal(size=(4, 6)))).all()
    assert fitted.scorer.known(np.array([[1.5] * 6, [-1.5] * 6])).tolist() == [True, False]


def test_a_row_is_familiar_as_far_as_labels_of_other_patients_are():
    cosines = np.array([[1, 0.9, 0.2], [0.9, 1, 0.3], [0.2, 0.3, 1]])
    assert familiar(cosines, np.arange(3)) == pytest.approx(np.quantile([0.9, 0.9, 0.3], 0.1))
    assert familiar(cosines, np.array([0, 0, 1])) == pytest.approx(np.quantile([0.2, 0.3, 0.3], 0.1))
    assert familiar(cosines, np.zeros(3, dtype=int)) == -1


def test_too_few_normals_are_refused(rng):
    with pytest.raises(ValueError, match="at least 20 normals; got 19"):
        fit_labelled(rng.normal(size=(19, 4)), rng.normal(size=(2, 4)), fit, np.arange(2))
