import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msde.datasets.statistic import STATISTICS


def values(gray):
    return {name: statistic(gray.astype(np.float32)) for name, statistic in STATISTICS.items()}


def test_a_flat_picture():
    flat = values(np.full((9, 9), 0.5))
    assert flat == {"mean": 0.5, "standard deviation": 0, "share of zero pixels": 0, "sharpness": 0, "entropy": 0}


def test_a_chessboard():
    board = values(np.indices((10, 10)).sum(axis=0) % 2)
    assert board["mean"] == board["standard deviation"] == board["share of zero pixels"] == 0.5
    assert board["entropy"] == pytest.approx(1)
    assert board["sharpness"] == pytest.approx(16)  # the Laplacian is 4 or -4 everywhere


@given(arrays(np.float32, st.tuples(st.integers(3, 12), st.integers(3, 12)), elements=st.floats(0, 1, width=32)))
def test_any_picture_gives_finite_numbers_in_their_range(gray):
    found = values(gray)
    assert all(np.isfinite(value) for value in found.values())
    assert 0 <= found["share of zero pixels"] <= 1
    assert 0 <= found["entropy"] <= 8
    assert found["sharpness"] >= 0
    turned = values(np.rot90(gray))
    assert turned == pytest.approx(found, abs=1e-5)
