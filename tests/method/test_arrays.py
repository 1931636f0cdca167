import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from msde.method.arrays import evenly_spaced


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_evenly_spaced_rows_are_distinct_and_reach_both_ends(n, most):
    chosen = evenly_spaced(n, most)
    assert len(np.unique(chosen)) == min(n, most)
    assert chosen[0] == 0
    assert most == 1 or chosen[-1] == n - 1
