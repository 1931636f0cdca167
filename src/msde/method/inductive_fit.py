"""The fit of an inductive scorer to normals."""

from __future__ import annotations

from collections.abc import Callable

from msde.method.arrays import FloatArray
from msde.method.density_weights import Weighting
from msde.method.frozen_shift import FrozenShift
from msde.method.gaussian import Gaussian, fit_ledoit_wolf
from msde.method.scorers import InductiveScorer
from msde.method.standardizer import CompressingStandardizer

FitGaussian = Callable[..., Gaussian]
FitInductive = Callable[[FloatArray], InductiveScorer]


def fit_inductive(
    rows: FloatArray, weighting: Weighting | None = "density", fit_gaussian: FitGaussian = fit_ledoit_wolf
) -> InductiveScorer:
    """Fit to normals (n, d), n >= 2, with the shift of this weighting, or none."""
    standardizer = CompressingStandardizer.fit(rows)
    normals = standardizer.apply(rows)
    if weighting is None:
        return InductiveScorer(standardizer, fit_gaussian(normals))
    shift, displacement, axes = FrozenShift.fit(normals, weighting=weighting)
    return InductiveScorer(standardizer, fit_gaussian(displacement, axes=axes), shift)
