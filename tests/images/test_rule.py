from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.errors import ImageError
from msde.images import ImageRule, stored_rule
from msde.images.rule import LEGACY_RULE
from msde.storage.records import put_together, take_apart


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_windows_are_two_ascending_numbers(low: float, high: float) -> None:
    text = f"window:{low!r},{high!r}"
    if low < high:
        assert ImageRule(text).window() == (low, high)
    else:
        with pytest.raises(ImageError):
            ImageRule(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auto",
        "window",
        "window:",
        "window:1",
        "window:1,2,3",
        "window:a,b",
        "window:nan,1",
        "window:0,inf",
        "level:0,1",
    ],
)
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(
        ImageError, match="^intensity rule .* is unknown; give dicom, full-range, percentile or window:"
    ):
        ImageRule(text)


def test_other_aspects_are_refused() -> None:
    with pytest.raises(ImageError, match="^aspect 'crop' is unknown; give squeeze or letterbox$"):
        ImageRule(aspect="crop")


def test_a_model_of_before_tells_so() -> None:
    assert not ImageRule().outdated
    assert LEGACY_RULE.outdated
    assert stored_rule({}) == LEGACY_RULE
    older = stored_rule({"images": {"intensity": "percentile", "aspect": "letterbox"}})
    assert older == ImageRule("percentile", "letterbox", 1)
    assert older.outdated
    rule = ImageRule("percentile")
    assert stored_rule({"images": take_apart(rule)[1]}) == rule


def test_rules_are_plain_settings() -> None:
    rule = ImageRule("window:-1000,400", "letterbox")
    arrays, settings = take_apart(rule)
    assert not arrays
    assert put_together(ImageRule, {}, settings) == rule
    assert math.isclose(rule.window()[1], 400)
