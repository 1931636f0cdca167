import numpy as np
import pytest

from msde.method.discriminant import Discriminant
from msde.method.weighing import WeighedDiscriminant, Weighing


def test_the_discriminant_counts_for_half_after_twenty_patients_and_for_little_before(rng):
    likeness, odds = rng.normal(3, 2, size=50), rng.normal(-5, 0.1, size=50)
    like, told = ((values - values.mean()) / values.std() for values in (likeness, odds))
    np.testing.assert_allclose(Weighing.fit(likeness, odds, 20).of(likeness, odds), (like + told) / 2)
    shares = [Weighing.fit(likeness, odds, n).share for n in (1, 3, 10, 60)]
    assert shares == pytest.approx([1 / 401, 9 / 409, 0.2, 0.9])
    assert Weighing.fit(likeness, odds, 3, np.inf).share == 0


def test_the_slope_grows_with_the_share():
    assert [Weighing(0, 1, 0, 1, share).slope(1) for share in (0, 0.5)] == [1, 1.25]


def test_what_does_not_vary_tells_nothing():
    weighing = Weighing.fit(np.ones(5), np.zeros(5), 3)
    np.testing.assert_array_equal(weighing.of(np.ones(2), np.zeros(2)), 0)


def test_log_odds_count_beyond_those_of_the_normals_near_by(rng):
    weights, usual, standard = rng.normal(size=3), rng.normal(size=20), rng.normal(size=(4, 3))
    weighed = WeighedDiscriminant(Discriminant(weights, 0.5), usual, Weighing(0, 1, 0, 1, 0.25))
    near = rng.integers(0, 20, size=(4, 6))
    odds = standard @ weights + 0.5 - usual[near].mean(axis=1)
    np.testing.assert_allclose(weighed.of(np.arange(4.0), standard, near), 0.75 * np.arange(4) + 0.25 * odds)


@pytest.mark.parametrize(
    "numbers", [(np.nan, 1, 0, 1, 0.5), (0, 0, 0, 1, 0.5), (0, 1, 0, np.inf, 0.5), (0, 1, 0, 1, 1)]
)
def test_damaged_weighings_are_refused(numbers):
    with pytest.raises(ValueError, match="weighing"):
        Weighing(*numbers)


@pytest.mark.parametrize("usual", [np.ones((2, 2)), np.array([np.nan])])
def test_damaged_log_odds_are_refused(usual):
    with pytest.raises(ValueError, match="log odds of normals"):
        WeighedDiscriminant(Discriminant(np.ones(2), 0), usual, Weighing(0, 1, 0, 1, 0))
