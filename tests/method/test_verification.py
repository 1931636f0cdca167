import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.method.verification import FEWEST, Verification, effective_number

p_values = st.lists(st.floats(1e-3, 1), max_size=80).map(np.array)


def test_each_image_stands_for_those_of_its_stratum_that_were_not_looked_at():
    looked_at = np.array([0.03] * 5 + [0.7] * 5)
    found = Verification.of(looked_at, np.full(95, 0.6), alpha=0.05)
    assert (found.flagged, found.unflagged) == ((5, 5), (5, 100))
    assert found.weights(looked_at).tolist() == [1.0] * 5 + [20.0] * 5
    assert found.covers_all


def test_where_only_flagged_images_were_looked_at_nothing_is_known_of_the_others():
    found = Verification.of(np.full(6, 0.01), np.full(50, 0.5), alpha=0.05)
    assert found.unflagged == (0, 50)
    assert not found.covers_all
    assert not Verification.of(np.full(6, 0.01), np.empty(0), alpha=0.05).covers_all


def test_where_no_flagged_image_was_looked_at_those_that_came_count():
    assert Verification.of(np.full(6, 0.5), np.empty(0), alpha=0.05).covers_all
    assert not Verification.of(np.full(6, 0.5), np.full(2, 0.01), alpha=0.05).covers_all


@given(p_values, p_values, st.sampled_from([0.01, 0.05, 0.033, 0.2]))
def test_weights_sum_to_what_came_in_where_some_of_it_was_looked_at(looked_at, others, alpha):
    found = Verification.of(looked_at, others, alpha)
    weights = found.weights(looked_at)
    assert (weights >= 1).all()
    assert weights.sum() == pytest.approx(found.came[found.looked_at > 0].sum())
    assert found.came.sum() == len(looked_at) + len(others)
    assert found.looked_at.sum() == len(looked_at)
    assert alpha in found.edges
    for side in (found.edges <= alpha, found.edges > alpha):
        assert (found.looked_at[side] >= FEWEST).all() or side.sum() == 1


@given(p_values, p_values, st.randoms(use_true_random=False))
def test_the_order_of_images_changes_nothing(looked_at, others, random):
    first, second = (np.array(random.sample(list(values), len(values))) for values in (looked_at, others))
    one, other = Verification.of(looked_at, others, 0.05), Verification.of(first, second, 0.05)
    np.testing.assert_array_equal(one.edges, other.edges)
    np.testing.assert_array_equal(one.came, other.came)


def test_an_effective_number_counts_patients_alike():
    assert effective_number(np.ones(6), np.array([0, 0, 1, 1, 2, 2])) == pytest.approx(3)
    assert effective_number(np.array([98.0, 1.0, 1.0]), np.arange(3)) < 1.1
