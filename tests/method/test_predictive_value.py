import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.method.predictive_value import PredictiveValue

inside = st.floats(0.001, 0.999)


def test_by_hand():
    value = PredictiveValue(prevalence=0.01, false_alarm_rate=0.05, sensitivity=0.5)
    assert value.flags == pytest.approx(5 + 49.5)
    assert value.false_flags == pytest.approx(49.5)
    assert value.positive == pytest.approx(5 / 54.5)
    assert value.negative == pytest.approx(940.5 / 945.5)


@given(inside, inside, inside)
def test_bayes(prevalence, false_alarm_rate, sensitivity):
    value = PredictiveValue(prevalence, false_alarm_rate, sensitivity)
    hit, false = prevalence * sensitivity, (1 - prevalence) * false_alarm_rate
    assert value.positive == pytest.approx(hit / (hit + false), abs=1e-9)
    assert value.negative == pytest.approx((1 - prevalence - false) / (1 - hit - false), abs=1e-9)
    assert value.positive <= PredictiveValue(prevalence, false_alarm_rate).positive + 1e-12


def test_without_flags_there_is_no_value():
    assert math.isnan(PredictiveValue(0.1, 0.0, 0.0).positive)
    assert math.isnan(PredictiveValue(0.1, 1.0, 1.0).negative)
