"""Scores of two runs compared as far as they are promised: texts and flags exactly, numbers but for their last bits.

What is kept is kept to the last bit (a model's arrays, a cache's rows). What is computed twice is not: the order in
which libraries add up depends on the batch, the threads and the processor.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from msde.model.score import ImageScore

ROUNDING = 1e-6


def assert_same_scores(found: Iterable[ImageScore], expected: Iterable[ImageScore], rel: float = ROUNDING) -> None:
    """Check that two runs say the same of the same images."""
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other)
        assert vars(one) == {
            name: pytest.approx(value, rel=rel, nan_ok=True) if isinstance(value, float) else value
            for name, value in vars(other).items()
        }


def assert_same_rows(found: NDArray[np.floating], expected: NDArray[np.floating]) -> None:
    """Check that two runs give the same embeddings, each entry to a share of the largest."""
    np.testing.assert_allclose(found, expected, rtol=ROUNDING, atol=ROUNDING * np.abs(expected).max())


def assert_same_tables(found: str, expected: str) -> None:
    """Check that two tables of scores, as `msde score` writes them in CSV, say the same."""
    tables = (list(csv.DictReader(text.splitlines())) for text in (found, expected))
    for one, other in zip(*tables, strict=True):
        assert float(one.pop("anomaly_score")) == pytest.approx(float(other.pop("anomaly_score")), rel=ROUNDING)
        assert one == other
