import numpy as np
import pytest

from msde import GaussianDensity


def test_high_scores_are_normal(rng):
    density = GaussianDensity().fit(rng.normal(size=(100, 3)))
    near, far = density.score_samples([[0, 0, 0], [9, 9, 9]])
    assert near > far
    np.testing.assert_allclose(density.mahalanobis([[9, 9, 9]]), -far)


def test_an_unknown_covariance_is_named():
    with pytest.raises(ValueError, match="'round'"):
        GaussianDensity("round").fit(np.eye(4))  # type: ignore[arg-type]
