"""What labelled abnormal images tell beside the normals: likeness to them, and how far it is to be believed.

A few labels must not drown what the normals tell, because abnormal images of other kinds will come. So an abnormal
image is taken for one of two sorts: of a kind that was labelled, or of any other. The more patients were labelled, the
likelier the first (the share of the known in sampling with new kinds, Good, Biometrika 40:237, 1953). For the first
the likeness counts, for the second nothing is known but the distance from the normals; the score adds to the distance
the log of the two together. Likeness so can only raise an image above others, never push one below those that are as
unlike the labels. docs/labels.md gives the measurements, and what is forgotten all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray
from msde.method.gaussian import Gaussian, fit_ridged

RIDGE = 0.001
CONCENTRATION = 3.0
SLOPE = 1.25
KNOWN_AFTER = 10
MOST_KNOWN = 0.85
HALF_SHUT = 0.2
STEEPNESS = 16

STEEPEST = 80.0  # of an exponent
_TINY = 1e-12


@dataclass(frozen=True)
class Likeness:
    """How like labelled abnormal rows others are, seen from the normals.

    Parameters
    ----------
    normals : Gaussian
        Of the standardised normals; directions in which they vary little count more.
    labelled : ndarray of shape (k, d), float64
        Of each labelled row the precision-weighted direction in which it lies: the cosine to a row is its product with
        the row's offset, over the row's distance.
    """

    normals: Gaussian
    labelled: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what tells no likeness, such as values of a damaged model file."""
        if self.labelled.ndim != 2 or self.labelled.shape[1] != len(self.normals.mean) or not len(self.labelled):
            raise ValueError("labelled rows must have shape (k, d), at least one")
        if not np.isfinite(self.labelled).all():
            raise ValueError("labelled rows must be finite")

    @classmethod
    def fit(cls, normals: FloatArray, abnormal: FloatArray, ridge: float = RIDGE) -> Self:
        """Learn from standardised normals (n, d) and labelled abnormal rows (k, d)."""
        return cls.seen_from(fit_ridged(normals, ridge), abnormal)

    @classmethod
    def seen_from(cls, normals: Gaussian, abnormal: FloatArray) -> Self:
        """Learn from labelled abnormal rows (k, d), standardised, beside a Gaussian of the normals."""
        return cls(normals, normals.gradient(abnormal) / _lengths(normals, abnormal)[:, None])

    def cosines(self, rows: FloatArray) -> NDArray[np.float64]:
        """Compute the cosine of each standardised row (m, d) to each labelled one, (m, k)."""
        return np.asarray((rows - self.normals.mean) @ self.labelled.T / _lengths(self.normals, rows)[:, None])

    def of(self, rows: FloatArray) -> NDArray[np.float64]:
        """Tell how like the labelled ones standardised rows (m, d) are, (m,)."""
        return soft_mean(self.cosines(rows))


def _lengths(gaussian: Gaussian, rows: FloatArray) -> NDArray[np.float64]:
    return np.maximum(gaussian.mahalanobis(rows), np.finfo(np.float64).tiny)


def soft_mean(cosines: NDArray[np.float64], concentration: float = CONCENTRATION) -> NDArray[np.float64]:
    """Average cosines (m, k) over the labelled rows, the larger the more.

    That is the logarithm of a mixture of von Mises-Fisher densities around the labelled rows, which may be of several
    kinds; 0 is the plain mean, infinity the nearest.
    """
    if not concentration:
        return np.asarray(cosines.mean(axis=1))
    return np.asarray(np.log(np.exp(concentration * cosines).mean(axis=1)) / concentration)


def gate(
    distances: NDArray[np.float64], cosines: NDArray[np.float64], n_patients: int, half_shut: float = HALF_SHUT
) -> float:
    """Tell how far likeness is to be believed, in (0, 1], by held-out normals.

    Where normals that lie far out are the ones that look like the labels, the labels tell of what normals of other
    machines and patients do too. The mean over the labels of the correlation of the two does not depend on how many
    there are, as the correlation with the likeness to all of them does. What few patients show is uncertain, and so the
    gate shuts sooner for them.

    Parameters
    ----------
    distances : ndarray of shape (n,)
    cosines : ndarray of shape (n, k)
        To each labelled row.
    n_patients : int
        Of the labelled rows.
    half_shut : float
        Correlation at which likeness to many patients counts half, if normals are enough that it is more than chance.
    """
    spreads = distances.std() * cosines.std(axis=0)
    together = (distances - distances.mean()) @ (cosines - cosines.mean(axis=0)) / len(distances)
    correlation = float(np.mean(together / np.maximum(spreads, _TINY)))
    half = max(half_shut, 2 / np.sqrt(len(distances))) * n_patients / (n_patients + 1)
    return float(1 / (1 + (max(correlation, 0.0) / half) ** STEEPNESS))


@dataclass(frozen=True)
class Blend:
    """Distance from the normals and likeness to the labelled abnormals as one score.

    Parameters
    ----------
    distance_mean, distance_deviation, likeness_mean, likeness_deviation : float
        Of held-out normals.
    prior : float
        Probability that an abnormal image is of a kind that was labelled, in [0, 1).
    slope : float
        Growth of the log odds of a labelled kind for each deviation of the likeness, at least 0.
    """

    distance_mean: float
    distance_deviation: float
    likeness_mean: float
    likeness_deviation: float
    prior: float
    slope: float

    def __post_init__(self) -> None:
        """Refuse what blends nothing, such as values of a damaged model file."""
        numbers = (self.distance_mean, self.likeness_mean, self.prior, self.slope)
        if not (np.isfinite(numbers).all() and 0 <= self.prior < 1 and self.slope >= 0):
            raise ValueError("a blend needs finite means, a prior in [0, 1) and a slope of at least 0")
        if not (0 < self.distance_deviation < np.inf and 0 < self.likeness_deviation < np.inf):
            raise ValueError("the deviations of a blend must be finite and above 0")

    @classmethod
    def fit(
        cls,
        distances: NDArray[np.float64],
        likeness: NDArray[np.float64],
        n_patients: int,
        slope: float = SLOPE,
        known_after: float = KNOWN_AFTER,
        most_known: float = MOST_KNOWN,
    ) -> Self:
        """Learn from held-out normals how much each of the two means.

        Parameters
        ----------
        distances, likeness : ndarray of shape (n,)
            Of held-out normals.
        n_patients : int
            Of the labelled rows.
        slope : float
        known_after : float
            Number of labelled patients after which the prior is half of what it comes to.
        most_known : float
            What it comes to with ever more, in [0, 1].
        """
        return cls(
            float(distances.mean()),
            deviation(distances),
            float(likeness.mean()),
            deviation(likeness),
            most_known * n_patients / (n_patients + known_after),
            slope,
        )

    def score(self, distances: NDArray[np.float64], likeness: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score rows by both, (m,): the distance, and in its unit what the likeness adds."""
        known = self.prior * self._odds(likeness)
        return distances + self.distance_deviation * np.log(1 - self.prior + known)

    def share(self, likeness: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tell the probability, (m,), that an image, if it is abnormal, is of a labelled kind."""
        known = self.prior * self._odds(likeness)
        return np.asarray(known / (1 - self.prior + known))

    def _odds(self, likeness: NDArray[np.float64]) -> NDArray[np.float64]:
        deviations = (likeness - self.likeness_mean) / self.likeness_deviation
        return np.asarray(np.exp(np.minimum(self.slope * deviations, STEEPEST)))


def deviation(values: NDArray[np.float64]) -> float:
    """Compute the standard deviation, never 0."""
    return max(float(values.std()), 1e-9)
