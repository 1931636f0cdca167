"""Whether incoming images look like the normals that a model was calibrated on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ABNORMAL_SHARE = 0.1
SIGNIFICANCE = 0.001


@dataclass(frozen=True)
class Drift:
    """How far incoming scores are from those of the calibration normals.

    Parameters
    ----------
    distance : float
        Kolmogorov-Smirnov distance of the two distributions, in [0, 1].
    explained : float
        The distance that chance (at 0.1 %) and up to 10 % abnormal images explain, at most 1.
    """

    distance: float
    explained: float

    @property
    def found(self) -> bool:
        """Whether the distance is larger than what is explained."""
        return self.distance > self.explained


def measure_drift(calibration: NDArray[np.float64], incoming: NDArray[np.float64]) -> Drift:
    """Compare incoming scores with those of the calibration normals.

    Parameters
    ----------
    calibration : ndarray of shape (n,)
        Scores of held-out normals, ascending.
    incoming : ndarray of shape (m,)
        Scores of new images in any order; NaN are left out.

    Returns
    -------
    Drift
        Two-sample Kolmogorov-Smirnov test (Smirnov, 1939) with its asymptotic critical distance.
    """
    incoming = np.sort(incoming[~np.isnan(incoming)])
    n, m = len(calibration), len(incoming)
    if not n or not m:
        return Drift(0.0, 1.0)
    everywhere = np.concatenate([calibration, incoming])
    shares = [np.searchsorted(scores, everywhere, side="right") / len(scores) for scores in (calibration, incoming)]
    chance = np.sqrt(-np.log(SIGNIFICANCE / 2) / 2 * (n + m) / (n * m))
    return Drift(float(np.abs(shares[0] - shares[1]).max()), float(min(1.0, ABNORMAL_SHARE + chance)))
