import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from msde.method.discriminant import Discriminant


@pytest.fixture
def rows(rng):
    return rng.normal(size=(80, 30)), rng.normal(size=(6, 30)) + 0.7


@pytest.mark.parametrize("ridge", [0.1, 4.0])
def test_it_is_the_logistic_regression_of_both_classes_at_one_weight(rows, ridge):
    normals, abnormal = rows
    found = Discriminant.fit(normals, abnormal, ridge)
    # scikit-learn sums the losses, of weights that come to the number of rows
    other = LogisticRegression(C=1 / (86 * ridge), class_weight="balanced", tol=1e-10, max_iter=10_000)
    other.fit(np.vstack(rows), np.repeat([0, 1], [80, 6]))
    np.testing.assert_allclose(found.weights, other.coef_[0], atol=1e-6)
    assert found.intercept == pytest.approx(other.intercept_[0], abs=1e-6)
    np.testing.assert_allclose(found.of(abnormal), other.decision_function(abnormal), atol=1e-5)


def test_copies_of_all_rows_change_nothing(rows):
    normals, abnormal = rows
    once = Discriminant.fit(normals, abnormal)
    twice = Discriminant.fit(np.repeat(normals, 2, axis=0), np.repeat(abnormal, 2, axis=0))
    np.testing.assert_allclose(once.weights, twice.weights, atol=1e-7)


def test_where_the_origin_lies_does_not_matter(rows):
    normals, abnormal = rows
    there, here = Discriminant.fit(normals + 5, abnormal + 5), Discriminant.fit(normals, abnormal)
    np.testing.assert_allclose(there.of(normals + 5), here.of(normals), atol=1e-7)


def test_one_row_of_each_class_will_do(rng):
    normal, abnormal = rng.normal(size=(2, 1, 4))
    found = Discriminant.fit(normal, abnormal)
    assert found.of(abnormal)[0] > 0 > found.of(normal)[0]


@pytest.mark.parametrize(
    ("weights", "intercept"), [(np.ones((2, 2)), 0.0), (np.array([np.nan]), 0.0), (np.ones(2), np.inf)]
)
def test_damaged_numbers_are_refused(weights, intercept):
    with pytest.raises(ValueError, match="finite weights"):
        Discriminant(weights, intercept)
