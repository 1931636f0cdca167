import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from msde.method.groups import UNKNOWN, joined

keys = st.lists(st.sets(st.integers(0, 8), max_size=3), max_size=20)


def test_by_hand():
    assert joined([{"a"}, set(), {"b"}, {"a", "c"}, {"d"}, {"c", "b"}]).tolist() == [0, UNKNOWN, 0, 0, 1, 0]
    assert joined([]).tolist() == []


@given(keys)
def test_rows_that_share_a_key_are_one_group_and_groups_share_none(rows):
    numbers = joined(rows)
    assert ((numbers == UNKNOWN) == [not row for row in rows]).all()
    assert set(numbers[numbers >= 0]) == set(range(numbers.max(initial=UNKNOWN) + 1))
    owners: dict[int, int] = {}
    for row, number in zip(rows, numbers, strict=True):
        for key in row:
            assert owners.setdefault(key, number) == number
    # No group falls into two: from any row all others of it are reached by shared keys.
    for number in range(numbers.max(initial=UNKNOWN) + 1):
        members = [rows[row] for row in np.flatnonzero(numbers == number)]
        reached, waiting = members[0], members[1:]
        while waiting:
            near, waiting = ([row for row in waiting if bool(row & reached) == is_near] for is_near in (True, False))
            assert near
            reached = reached.union(*near)


@given(keys, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_names_of_keys_change_no_group(rows, random):
    order, names = list(range(len(rows))), list(range(100, 109))
    random.shuffle(order)
    random.shuffle(names)
    numbers = joined(rows)
    renamed = joined([{names[key] for key in rows[row]} for row in order])
    together = numbers[:, None] == numbers
    np.testing.assert_array_equal(renamed[:, None] == renamed, together[np.ix_(order, order)])
