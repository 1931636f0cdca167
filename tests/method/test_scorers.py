import numpy as np

from msde.method.scorers import batch_probability


def test_one_score_alone_is_one_half_as_published():
    assert batch_probability(np.array([17.0])) == 0.5


def test_the_published_output_keeps_the_order(rng):
    scores = rng.normal(size=30)
    np.testing.assert_array_equal(np.argsort(batch_probability(scores)), np.argsort(scores))
