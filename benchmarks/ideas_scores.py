"""Table A: other ways to score an image alone. Each takes the place of one step of the default, and leaves the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from embeddings import FIRST_LOOKS, load_sets
from protocol import Score, plain
from sklearn.base import OutlierMixin, clone
from sklearn.covariance import oas
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM
from table import print_header, print_ideas

from msde import MeanShiftEnhancer
from msde.method.gaussian import Gaussian, fit_empirical, fit_ledoit_wolf, fit_shrunk
from msde.method.outliers import FEWEST_ROWS, LIMIT, outlyingness
from msde.method.standardizer import CompressingStandardizer, Standardizer

CHANNELS = (24, 40, 112, 320)  # of the levels of EfficientNet-Lite0
Fit = Callable[[np.ndarray], Score]


def replaced(fit: Fit | None = None, scale: Fit | None = None, limit: float = LIMIT) -> Fit:
    """Return the default with another density of the standardised rows, scale of the features, or limit of doubt."""
    fit, scale = fit or of(fit_ledoit_wolf), scale or compressed

    def idea(normals: np.ndarray) -> Score:
        scaled = scale(normals)
        standard = scaled(normals)
        score = fit(standard[outlyingness(standard) <= limit])
        return lambda rows: score(scaled(rows))

    return idea


def first_default(rows: np.ndarray) -> Score:
    """Return the default on which these tables were made: without a shift, distrusted normals left out."""
    return replaced(limit=LIMIT if len(rows) >= FEWEST_ROWS else np.inf)(rows)


def of(fit: Callable[[np.ndarray], Gaussian]) -> Fit:
    return lambda rows: fit(rows).mahalanobis


# Scales of the features: training rows to a transform of rows.


def compressed(rows: np.ndarray) -> Score:
    return CompressingStandardizer.fit(rows).apply


def standardised(rows: np.ndarray) -> Score:
    return Standardizer.fit(rows).apply


def squeezed(squeeze: Score) -> Fit:
    def scale(rows: np.ndarray) -> Score:
        before = Standardizer.fit(rows)
        after = Standardizer.fit(squeeze(before.apply(rows)))
        return lambda others: after.apply(squeeze(before.apply(others)))

    return scale


def ranked(rows: np.ndarray) -> Score:
    """Give each feature the quantile of a normal distribution that belongs to its rank among the normals."""
    from scipy.special import ndtri

    columns = np.sort(rows, axis=0).T

    def transform(others: np.ndarray) -> np.ndarray:
        pairs = list(zip(columns, others.T, strict=True))
        ranks = [np.searchsorted(column, x) + np.searchsorted(column, x, side="right") for column, x in pairs]
        return ndtri((np.stack(ranks, axis=1) + 1) / 2 / (len(rows) + 1))

    return transform


# Densities and other scores: standardised training rows to a score of rows.


def fit_oas(rows: np.ndarray) -> Gaussian:
    mean = rows.mean(axis=0, dtype=np.float64)
    covariance, _ = oas(rows - mean, assume_centered=True)
    return Gaussian(mean, np.linalg.inv(np.linalg.cholesky(covariance)).T)


def spectral(power: float = 1.0, times: float = 1.0) -> Callable[[np.ndarray], Gaussian]:
    """Return the Ledoit-Wolf fit with its shrinkage multiplied and the variances of its axes raised to a power."""

    def fit(rows: np.ndarray) -> Gaussian:
        shrinkage = min(1.0, times * fit_shrunk(rows)[1])
        mean = rows.mean(axis=0, dtype=np.float64)
        variances, axes = np.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        shrunk = (1 - shrinkage) * np.maximum(variances, 0) + shrinkage * variances.mean()
        return Gaussian(mean, axes * shrunk ** (-power / 2))

    return fit


def by_level(rows: np.ndarray) -> Score:
    borders = np.cumsum(CHANNELS)[:-1]
    gaussians = [fit_ledoit_wolf(level) for level in np.split(rows, borders, axis=1)]
    return lambda others: np.sum(
        [g.mahalanobis(level) ** 2 for g, level in zip(gaussians, np.split(others, borders, axis=1), strict=True)],
        axis=0,
    )


def whitened(fit: Fit, power: float = 1.0) -> Fit:
    def scored(rows: np.ndarray) -> Score:
        gaussian = spectral(power)(rows)
        score = fit((rows - gaussian.mean) @ gaussian.whitening_of_all)
        return lambda others: score((others - gaussian.mean) @ gaussian.whitening_of_all)

    return scored


def neighbors(k: int) -> Fit:
    """Return the mean distance to the k nearest normals."""

    def fit(rows: np.ndarray) -> Score:
        found = NearestNeighbors(n_neighbors=k).fit(rows)
        return lambda others: found.kneighbors(others)[0].mean(axis=1)

    return fit


def local_residual(k: int) -> Fit:
    """Return the offset from the mean of the k nearest normals, under the Gaussian of the normals' own offsets."""

    def fit(rows: np.ndarray) -> Score:
        found = NearestNeighbors(n_neighbors=k).fit(rows)
        among_themselves = found.kneighbors(return_distance=False)
        gaussian = fit_ledoit_wolf(rows - rows[among_themselves].mean(axis=1))
        return lambda others: gaussian.mahalanobis(
            others - rows[found.kneighbors(others, return_distance=False)].mean(axis=1)
        )

    return fit


def outlier_detector(detector: OutlierMixin) -> Fit:
    def fit(rows: np.ndarray) -> Score:
        fitted = clone(detector).fit(rows)
        return lambda others: -fitted.score_samples(others)

    return fit


def relative(rows: np.ndarray) -> Score:
    """Take the distance under independent features away from the distance."""
    gaussian, spread = fit_ledoit_wolf(rows), Standardizer.fit(rows)
    return lambda others: gaussian.mahalanobis(others) ** 2 - np.sum(spread.apply(others) ** 2, axis=1)


# The mean shift of one image alone, along the frozen trajectory of the normals.


def shifted(k: int, steps: int) -> Callable[[np.ndarray], MeanShiftEnhancer]:
    return lambda rows: MeanShiftEnhancer(k, max_iter=steps, weighting="uniform").fit(rows)


def position(k: int, steps: int, fit: Callable[[np.ndarray], Gaussian] = fit_ledoit_wolf) -> Fit:
    def scored(rows: np.ndarray) -> Score:
        move = shifted(k, steps)(rows).transform
        gaussian = fit(move(rows))
        return lambda others: gaussian.mahalanobis(move(others))

    return scored


def displacement(k: int, steps: int) -> Fit:
    def scored(rows: np.ndarray) -> Score:
        move = shifted(k, steps)(rows).transform
        gaussian = fit_ledoit_wolf(move(rows) - rows)
        return lambda others: gaussian.mahalanobis(move(others) - others)

    return scored


def length(k: int, steps: int) -> Fit:
    def scored(rows: np.ndarray) -> Score:
        trajectory = shifted(k, steps)(rows).trajectory_
        return lambda others: trajectory.follow(others.astype(rows.dtype, copy=False))[1]

    return scored


IDEAS: dict[str, Fit] = {
    "**plain Gaussian** (Ledoit-Wolf, features standardised)": plain,
    "**default** (asinh at scale 0.5, distrusted normals left out, Ledoit-Wolf)": first_default,
    "trust: all normals": replaced(limit=np.inf),
    "trust: normals of doubt up to 1.5": replaced(limit=1.5),
    "trust: normals of doubt up to 2.5": replaced(limit=2.5),
    "features: standardised only": replaced(scale=standardised),
    "features: asinh at scale 1": replaced(scale=squeezed(np.arcsinh)),
    "features: asinh at scale 2": replaced(scale=squeezed(lambda x: np.arcsinh(x / 2))),
    "features: clipped at 2 deviations": replaced(scale=squeezed(lambda x: np.clip(x, -2, 2))),
    "features: clipped at 3 deviations": replaced(scale=squeezed(lambda x: np.clip(x, -3, 3))),
    "features: ranks, as normal quantiles": replaced(scale=ranked),
    "covariance: OAS": replaced(of(fit_oas)),
    "covariance: empirical on 256 axes (published, without shift)": replaced(
        of(fit_empirical), scale=standardised, limit=np.inf
    ),
    "covariance: empirical on 256 axes, rest as default": replaced(of(fit_empirical)),
    "covariance: shrinkage x 0.25": replaced(of(spectral(times=0.25))),
    "covariance: shrinkage x 4": replaced(of(spectral(times=4))),
    "covariance: variances to the power 0.5": replaced(of(spectral(power=0.5))),
    "covariance: variances to the power 1.5": replaced(of(spectral(power=1.5))),
    "score: sum of squared distances, a Gaussian a level": replaced(by_level),
    "score: 1 nearest neighbour": replaced(neighbors(1)),
    "score: 5 nearest neighbours": replaced(neighbors(5)),
    "score: 1 nearest neighbour, half whitened": replaced(whitened(neighbors(1), 0.5)),
    "score: 5 nearest neighbours, half whitened": replaced(whitened(neighbors(5), 0.5)),
    "score: 1 nearest neighbour, whitened": replaced(whitened(neighbors(1))),
    "score: 5 nearest neighbours, whitened": replaced(whitened(neighbors(5))),
    "score: residual from 10 neighbours under its own Gaussian": replaced(local_residual(10)),
    "score: local outlier factor, whitened": replaced(whitened(outlier_detector(LocalOutlierFactor(20, novelty=True)))),
    "score: one-class SVM, whitened": replaced(whitened(outlier_detector(OneClassSVM(nu=0.1)))),
    "score: isolation forest": replaced(outlier_detector(IsolationForest(random_state=0))),
    "score: relative Mahalanobis distance": replaced(relative),
    "shift: position, k=50, 8 steps (published steps, normals' frozen path)": replaced(
        position(50, 8, fit_empirical), scale=standardised, limit=np.inf
    ),
    "shift: position, k=50, 8 steps": replaced(position(50, 8)),
    "shift: position, k=10, 2 steps": replaced(position(10, 2)),
    "shift: displacement vector, k=50, 8 steps": replaced(displacement(50, 8)),
    "shift: displacement vector, k=10, 2 steps": replaced(displacement(10, 2)),
    "shift: displacement length, k=50, 8 steps (arXiv 2602.03293)": replaced(length(50, 8)),
    "shift: displacement length, k=10, 2 steps": replaced(length(10, 2)),
}


def print_table(cache: Path) -> None:
    sets = load_sets(cache, FIRST_LOOKS)
    print_header("idea", (*sets, "mean"))
    print_ideas(IDEAS, sets)
