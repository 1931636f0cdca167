import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from msde.benchmark.classifiers import RIDGE, discriminant, logistic_regression, nearest_labelled
from msde.method.metrics import auroc

RIVALS = [logistic_regression, discriminant, nearest_labelled]


@pytest.fixture
def classes(rng):
    """Normals and labels that differ in one direction alone."""
    normals, labels = rng.normal(size=(80, 20)), rng.normal(size=(30, 20))
    labels[:, 0] += 2
    return normals, labels


@pytest.mark.parametrize("learn", RIVALS)
def test_what_is_like_the_labels_scores_higher(learn, classes, rng):
    score = learn(*classes)
    normal, abnormal = rng.normal(size=(2, 200, 20))
    abnormal[:, 0] += 2
    assert auroc(score(normal), score(abnormal)) > 0.7


@pytest.mark.parametrize("learn", RIVALS)
@given(k=st.integers(1, 5), n=st.integers(2, 9))
def test_one_label_will_do_and_a_row_is_scored_by_itself(learn, k, n):
    rng = np.random.default_rng(10 * k + n)
    normals, labels, rows = (rng.normal(size=(size, 12)).astype(np.float32) for size in (n, k, 6))
    score = learn(normals, labels)
    together = score(rows)
    assert np.isfinite(together).all()
    np.testing.assert_allclose(np.concatenate([score(row[None]) for row in rows]), together, rtol=1e-4, atol=1e-5)


def test_the_regression_is_scikit_learns(classes, rng):
    normals, labels = classes
    rows = rng.normal(size=(50, 20))
    model = LogisticRegression(C=RIDGE, class_weight="balanced", max_iter=500)
    model.fit(np.vstack(classes), np.repeat([0, 1], [80, 30]))
    ours, theirs = logistic_regression(normals, labels)(rows), model.decision_function(rows)
    np.testing.assert_allclose(ours - ours.mean(), theirs - theirs.mean(), atol=1e-4)


def test_the_discriminant_is_fishers_where_rows_are_many(rng):
    normals, labels = rng.normal(size=(4000, 5)), rng.normal(size=(3000, 5)) + [1, 0, 0, 0, 0]
    rows = rng.normal(size=(100, 5))
    theirs = LinearDiscriminantAnalysis().fit(np.vstack([normals, labels]), np.repeat([0, 1], [4000, 3000]))
    assert np.corrcoef(discriminant(normals, labels)(rows), theirs.decision_function(rows))[0, 1] > 0.999
