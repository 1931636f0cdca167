"""Whether incoming images look like the normals that a model was calibrated on."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

ABNORMAL_SHARE = 0.1
SIGNIFICANCE = 0.001
HIGH_SIDE = 0.9  # of the significance: scores that are too high raise false alarms

_Weighted = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Drift:
    """How far incoming scores are from those of the calibration normals.

    Parameters
    ----------
    distance : float
        Largest difference of the two distribution functions on the side named by `higher`, in [0, 1].
    explained : float
        The difference that chance explains on that side, at most 1.
    higher : bool
        Whether it is about scores that are higher than the calibration's, once a tenth of them is granted to abnormal
        images; otherwise about lower ones, which abnormal images cannot explain.
    n_units : int
        Patients, volumes and images alone among what is compared.
    unseen : float
        How far, in their deviations, all normals' scores may rise before that is expected to be found among as many;
        infinite where there are too few.
    """

    distance: float
    explained: float
    higher: bool = True
    n_units: int = 0
    unseen: float = float("inf")

    @property
    def found(self) -> bool:
        """Whether the distance is larger than what is explained."""
        return self.distance > self.explained

    def unseen_rate(self, alpha: float) -> float:
        """Tell to what a false-alarm rate alpha in (0, 1) may rise and yet go unseen; in [alpha, 1].

        It is that of normally distributed scores which all rise by `unseen`.
        """
        return 1 - NormalDist(self.unseen).cdf(NormalDist().inv_cdf(1 - alpha)) if self.unseen < np.inf else 1.0


def measure_drift(
    calibration: ArrayLike,
    incoming: ArrayLike,
    *,
    calibration_groups: ArrayLike | None = None,
    incoming_groups: ArrayLike | None = None,
) -> Drift:
    """Compare incoming scores with those of the calibration normals.

    Abnormal images among the incoming ones, up to a share e, can lower their distribution function by e at most of
    what it is: so the largest of (1 - e) F_calibration - F_incoming tells of scores that are too high, and the largest
    of F_incoming - F_calibration of scores that are too low. Each has its one-sided critical distance, which together
    are exceeded by chance at 0.1 % at most.

    Parameters
    ----------
    calibration : array-like of shape (n,)
        Scores of held-out normals.
    incoming : array-like of shape (m,)
        Scores of new images; NaN are left out.
    calibration_groups, incoming_groups : array-like of shape (n,) or (m,), optional
        Label of the patient or volume of each image: those of one count as one, because they vary together. By default
        each image counts.

    Returns
    -------
    Drift
        On the side that is nearer to a finding, or beyond it.

    Notes
    -----
    Two-sample Kolmogorov-Smirnov test (Smirnov, 1939) with its asymptotic critical distances, by the numbers of groups.
    A distribution function averages those of the groups. It is the mean over all choices of one image a group, so it
    strays no farther than that of single images from as many groups.
    """
    known, n = _weighted(calibration, calibration_groups)
    new, m = _weighted(incoming, incoming_groups)
    if not n or not m:
        return Drift(0.0, 1.0, n_units=m)
    everywhere = np.concatenate([known[0], new[0]])
    before, now = (_distribution(*weighted, everywhere) for weighted in (known, new))
    high, low = (_critical(n, m, share * SIGNIFICANCE) for share in (HIGH_SIDE, 1 - HIGH_SIDE))
    sides = [
        (float(np.max((1 - ABNORMAL_SHARE) * before - now, initial=0)), high, True),
        (float(np.max(now - before, initial=0)), low, False),
    ]
    distance, explained, higher = max(sides, key=lambda side: side[0] / side[1])
    return Drift(distance, min(1.0, explained), higher, m, _move_of(high))


def _weighted(scores: ArrayLike, groups: ArrayLike | None) -> tuple[_Weighted, int]:
    """Sort scores that are numbers; give the weight of each, which sum up to 1, and the number of groups."""
    values = np.asarray(scores, dtype=np.float64)
    labels = np.arange(len(values)) if groups is None else np.asarray(groups)
    usable = ~np.isnan(values)
    values, labels = values[usable], labels[usable]
    _, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    return (values[order], 1 / (len(sizes) * sizes[numbers[order]])), len(sizes)


def _distribution(
    scores: NDArray[np.float64], weights: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(weights)])[np.searchsorted(scores, at, side="right")]


def _critical(n: int, m: int, chance: float) -> float:
    return float(np.sqrt(-np.log(chance) / 2 * (n + m) / (n * m)))


def _move_of(distance: float) -> float:
    """Tell by how much a standard normal distribution is to rise until the distance on the upper side is this."""
    if distance >= 1 - ABNORMAL_SHARE:
        return float("inf")
    short, far = 0.0, 20.0
    for _ in range(40):
        middle = (short + far) / 2
        # Where the densities (1 - e) f(t) and f(t - middle) are equal, the difference is largest.
        highest = middle / 2 + float(np.log(1 - ABNORMAL_SHARE)) / middle
        difference = (1 - ABNORMAL_SHARE) * NormalDist().cdf(highest) - NormalDist(middle).cdf(highest)
        short, far = (middle, far) if difference < distance else (short, middle)
    return far
