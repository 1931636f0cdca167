"""Scikit-learn's own checks."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from msde import GaussianDensity, MeanShiftEnhancer, MSDEDetector

ESTIMATORS = [
    MSDEDetector(),
    MSDEDetector("transductive"),
    MeanShiftEnhancer(),
    GaussianDensity(),
    GaussianDensity("ledoit-wolf"),
]


def exclusions(estimator):
    if getattr(estimator, "mode", None) != "transductive":
        return {}
    reason = "the published procedure scores the rows of a batch together"
    return {"check_methods_subset_invariance": reason}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=exclusions)
def test_scikit_learn_contract(estimator, check):
    check(estimator)
