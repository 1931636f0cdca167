"""Ranges of estimator parameters as data, and their check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.utils.validation import check_scalar

Range = tuple[type, float | None, float | None]


def check_parameters(estimator: Any, ranges: Mapping[str, Range]) -> None:
    """Check that each named parameter of the estimator has its type and lies in its closed range.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, its value and its range.
    """
    for name, (kind, low, high) in ranges.items():
        check_scalar(getattr(estimator, name), name, kind, min_val=low, max_val=high)
