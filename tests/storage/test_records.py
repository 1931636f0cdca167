from dataclasses import dataclass

import numpy as np
import pytest

from msde.storage.records import put_together, take_apart


@dataclass(frozen=True)
class Inner:
    values: np.ndarray
    name: str


@dataclass(frozen=True)
class Outer:
    inner: Inner
    count: int
    table: np.ndarray


def test_a_record_survives_the_round_trip():
    outer = Outer(Inner(np.arange(3), "x"), 7, np.eye(2))
    arrays, settings = take_apart(outer)
    assert sorted(arrays) == ["inner.values", "table"]
    assert settings == {"inner.name": "x", "count": 7}
    again = put_together(Outer, arrays, settings)
    assert again.inner.name == "x"
    assert again.count == 7
    np.testing.assert_array_equal(again.inner.values, np.arange(3))


def test_a_missing_name_is_an_error():
    with pytest.raises(KeyError, match="table"):
        put_together(Outer, {"inner.values": np.arange(3)}, {"inner.name": "x", "count": 7})


@dataclass(frozen=True)
class Younger:
    count: int
    extra: np.ndarray | None = None


def test_a_file_older_than_a_field_that_may_be_none_has_none_of_it():
    assert put_together(Younger, {}, {"count": 7}) == Younger(7)
    full = Younger(7, np.arange(2))
    np.testing.assert_array_equal(put_together(Younger, *take_apart(full)).extra, full.extra)
