from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from msde.dicom import Result
from msde.errors import DataError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("anomaly_score", nan),
        ("anomaly_score", inf),
        ("p_value", 0.0),
        ("p_value", 1.5),
        ("alpha", 0.0),
        ("alpha", nan),
        ("model_name", " "),
        ("model_name", "x" * 65),
        ("model_name", "a\\b"),
        ("model_version", "1\n2"),
        ("model_sha256", "0" * 63),
        ("model_sha256", "G" * 64),
        ("text", "x" * 4001),
        ("text", "a\0"),
    ],
)
def test_what_cannot_be_stored_is_refused(result: Result, name: str, value: Any) -> None:
    with pytest.raises(DataError, match=name):
        replace(result, **{name: value})


def test_values_that_are_not_known_are_allowed(result: Result) -> None:
    unknown = replace(result, p_value=nan, threshold=inf, flagged=None, text="")
    assert unknown.flagged is None
