import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.method.volume_score import volume_score

scores = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)


@given(scores, st.randoms())
def test_is_the_mean_of_the_highest_tenth_in_any_order(values, random):
    highest = sorted(values)[-max(1, -(-len(values) // 10)) :]
    random.shuffle(values)
    assert volume_score(np.array(values)) == pytest.approx(np.mean(highest))


@given(scores)
def test_lies_between_mean_and_maximum(values):
    assert np.mean(values) <= volume_score(np.array(values)) * (1 + 1e-12) + 1e-9
    assert volume_score(np.array(values)) <= max(values) * (1 + 1e-12)


def test_what_cannot_be_scored_leaves_none():
    assert np.isnan(volume_score(np.array([1.0, np.nan, 3.0])))
