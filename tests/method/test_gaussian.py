import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from msde.method.gaussian import Gaussian, fit_empirical, fit_ledoit_wolf, fit_ridged, fit_shrunk


@pytest.mark.parametrize(("n", "d"), [(400, 30), (50, 120), (600, 300)])
def test_the_published_gaussian_is_pca_and_empirical_covariance(rng, n, d):
    rows, queries = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(size=(20, d))
    kept = min(256, d, n - 1)
    pca = PCA(kept, svd_solver="full").fit(rows)
    offsets = pca.transform(queries)
    precision = np.linalg.inv(np.cov(pca.transform(rows).T) + 1e-4 * np.eye(kept))
    expected = np.sqrt(np.einsum("ij,jk,ik->i", offsets, precision, offsets))
    np.testing.assert_allclose(fit_empirical(rows).mahalanobis(queries), expected, rtol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(400, 30), (50, 120), (40, 40), (60, 1)])
def test_the_other_gaussian_is_scikit_learns_ledoit_wolf(rng, n, d):
    rows, queries = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(size=(20, d))
    expected = np.sqrt(LedoitWolf().fit(rows).mahalanobis(queries))
    gaussian, shrinkage = fit_shrunk(rows)
    np.testing.assert_allclose(gaussian.mahalanobis(queries), expected, rtol=1e-6)
    assert shrinkage == pytest.approx(LedoitWolf().fit(rows).shrinkage_, abs=1e-12)


@pytest.mark.parametrize(("n", "d"), [(400, 30), (50, 120), (2, 5)])
def test_the_whitening_of_all_directions_gives_the_same_distances(rng, n, d):
    gaussian, queries = fit_ledoit_wolf(rng.normal(size=(n, d))), rng.normal(size=(20, d))
    white = (queries - gaussian.mean) @ gaussian.whitening_of_all
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), gaussian.mahalanobis(queries), rtol=1e-9)


@pytest.mark.parametrize("outside", [-1.0, np.nan, np.inf])
def test_a_senseless_precision_outside_the_axes_is_refused(outside):
    with pytest.raises(ValueError, match="outside the axes"):
        Gaussian(np.zeros(2), np.eye(2), outside)


def test_axes_without_length_are_refused():
    with pytest.raises(ValueError, match="no length"):
        Gaussian(np.zeros(2), np.zeros((2, 1)), 1.0)


@pytest.mark.parametrize("fit", [fit_empirical, fit_ledoit_wolf])
@pytest.mark.parametrize("n", [2, 3])
def test_few_or_identical_rows_give_finite_distances(fit, n, rng):
    for rows in (rng.normal(size=(n, 5)), np.ones((n, 5))):
        assert np.all(np.isfinite(fit(rows).mahalanobis(rng.normal(size=(4, 5)))))


def test_the_centre_is_at_distance_zero(rng):
    rows = rng.normal(size=(50, 5))
    assert fit_ledoit_wolf(rows).mahalanobis(rows.mean(axis=0)[None])[0] < 1e-6


@pytest.mark.parametrize("p", [12, 30])
def test_rows_by_their_coordinates_have_the_gaussian_of_the_rows(rng, p):
    axes = np.linalg.qr(rng.normal(size=(40, p)))[0]
    coordinates, others = rng.normal(size=(20, p)), rng.normal(size=(9, 40))
    along, of_all = fit_ledoit_wolf(coordinates, axes), fit_ledoit_wolf(coordinates @ axes.T)
    np.testing.assert_allclose(along.mahalanobis(others), of_all.mahalanobis(others), rtol=1e-8)


@pytest.mark.parametrize("shape", [(20, 50), (80, 12)])
def test_contributions_of_the_features_add_up_to_the_squared_distance(rng, shape):
    gaussian = fit_ledoit_wolf(rng.normal(size=shape))
    rows = rng.normal(size=(7, shape[1])) * 3
    np.testing.assert_allclose(gaussian.contributions(rows).sum(axis=1), gaussian.mahalanobis(rows) ** 2)


@pytest.mark.parametrize(("n", "d"), [(12, 5), (5, 12), (8, 8)])
def test_a_ridge_is_added_to_the_variance_of_every_axis(rng, n, d):
    rows = rng.normal(size=(n, d)) * np.linspace(0.5, 2, d) + 3
    covariance = np.cov(rows, rowvar=False, bias=True)
    precision = np.linalg.inv(covariance + 0.1 * np.trace(covariance) * np.eye(d))
    gaussian, tested = fit_ridged(rows, 0.1), rng.normal(size=(6, d))
    offsets = tested - rows.mean(axis=0)
    np.testing.assert_allclose(gaussian.gradient(tested), offsets @ precision, rtol=1e-8)
    np.testing.assert_allclose(gaussian.mahalanobis(tested) ** 2, (offsets @ precision * offsets).sum(axis=1))


def test_a_ridge_is_found_where_all_rows_are_alike():
    assert np.isfinite(fit_ridged(np.ones((4, 3)), 0.1).mahalanobis(np.zeros((1, 3)))).all()
