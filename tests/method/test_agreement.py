import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from msde.method.agreement import agreement

WORDS = st.lists(st.tuples(st.sampled_from("nau"), st.sampled_from("nau")), min_size=2, max_size=40)


@given(WORDS)
def test_kappa_is_that_of_scikit_learn_and_lies_in_its_interval(said):
    first, second = zip(*said, strict=True)
    found = agreement(first, second)
    assert found.agreed == sum(one == other for one, other in said)
    if len({*first, *second}) == 1:
        assert math.isnan(found.kappa)
    else:
        assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
        assert -1 <= found.low <= found.kappa <= found.high <= 1


@given(WORDS)
@example([("n", "n")] * 4 + [("a", "n"), ("u", "n")])  # a variance of 0
def test_neither_the_order_of_readers_nor_of_images_changes_anything(said):
    first, second = zip(*said, strict=True)
    swapped, turned = agreement(second, first), agreement(first[::-1], second[::-1])
    for other in (swapped, turned):
        np.testing.assert_allclose(
            [other.kappa, other.low, other.high], [agreement(first, second).kappa, *_ends(first, second)], atol=1e-9
        )


def _ends(first, second):
    found = agreement(first, second)
    return found.low, found.high


def test_the_interval_holds_the_kappa_of_many_images_as_often_as_it_says(rng):
    table = np.array([[0.5, 0.08, 0.04], [0.06, 0.2, 0.02], [0.03, 0.02, 0.05]])
    by_chance = table.sum(axis=0) @ table.sum(axis=1)
    truth = (np.trace(table) - by_chance) / (1 - by_chance)
    held = 0
    for _ in range(300):
        drawn = rng.choice(9, size=150, p=table.ravel())
        found = agreement((drawn // 3).tolist(), (drawn % 3).tolist())
        held += found.low <= truth <= found.high
    assert 0.91 <= held / 300 <= 0.99
