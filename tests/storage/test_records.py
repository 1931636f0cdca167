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
