import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.method.calibration import Calibration
from msde.report.histogram import BINS, WIDTH, Histogram


def histogram(scores, alpha=0.05):
    return Histogram(Calibration(np.sort(np.asarray(scores, dtype=float)), alpha, "test"), "normals")


scores = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(scores, st.floats(-1e7, 1e7), st.floats(-1e7, 1e7))
def test_higher_scores_stand_no_further_left(normals, one, other):
    drawn = histogram(normals)
    low, high = sorted([one, other])
    assert 0 <= drawn.place(low) <= drawn.place(high) <= WIDTH


@given(scores)
def test_every_normal_is_in_a_bar_and_the_threshold_in_the_drawing(normals):
    drawn = histogram(normals)
    root = ElementTree.fromstring(drawn.symbol())  # noqa: S314
    assert 1 <= len(root.findall("g/rect")) <= min(len(normals), BINS)
    assert 0 < drawn.place(normals[0]) < WIDTH


def test_the_threshold_stands_where_scores_are_flagged():
    drawn = histogram(range(100))
    line = ElementTree.fromstring(drawn.symbol()).find("line[@class='threshold']")  # noqa: S314
    assert float(line.get("x1", "nan")) == drawn.place(drawn.calibration.threshold)


def test_no_threshold_is_drawn_where_there_is_none():
    assert 'class="threshold"' not in histogram([1, 2, 3]).symbol()


@pytest.mark.parametrize(("score", "arrow"), [(50, False), (500, True)])
def test_a_score_beyond_the_drawing_is_an_arrow(score, arrow):
    drawn = histogram(range(100)).marked(score)
    ElementTree.fromstring(drawn)  # noqa: S314
    assert bool(re.search(r'class="mark" d="M[\d.]+ \d+h', drawn)) is arrow
    assert 'href="#normals"' in drawn
