import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.method.labelled_abnormals import MOST_KNOWN, Blend, Likeness, gate, soft_mean


@pytest.fixture
def likeness(rng):
    normals = rng.normal(size=(60, 9)) * np.linspace(0.2, 3, 9)
    return Likeness.fit(normals, rng.normal(size=(4, 9)) + 2)


def test_a_labelled_row_has_cosine_one_to_itself(rng):
    normals, labelled = rng.normal(size=(30, 50)), rng.normal(size=(5, 50)) + 1
    cosines = Likeness.fit(normals, labelled).cosines(labelled)
    np.testing.assert_allclose(np.diag(cosines), 1)
    np.testing.assert_allclose(cosines, cosines.T, atol=1e-12)


def test_cosines_are_those_of_rows_whitened_with_the_ridge(rng, likeness):
    rows = rng.normal(size=(7, 9))
    white = (rows - likeness.normals.mean) @ likeness.normals.whitening_of_all
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    inverse = np.linalg.inv(likeness.normals.whitening_of_all)
    labelled = likeness.labelled @ inverse.T
    np.testing.assert_allclose(likeness.cosines(rows), white @ labelled.T, atol=1e-10)


def test_the_centre_of_the_normals_is_like_nothing(likeness):
    np.testing.assert_array_equal(likeness.cosines(likeness.normals.mean[None]), 0)


@given(st.sampled_from([0, 0.1, 3, 20]), st.integers(1, 6))
def test_soft_mean_lies_between_mean_and_nearest(concentration, k):
    cosines = np.random.default_rng(k).uniform(-1, 1, size=(5, k))
    values = soft_mean(cosines, concentration)
    assert np.all(values >= cosines.mean(axis=1) - 1e-9)
    assert np.all(values <= cosines.max(axis=1) + 1e-9)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20), st.integers(1, 1000))
def test_the_more_like_the_labels_the_higher_and_nobody_falls_below_the_least_like(values, n_patients):
    rng = np.random.default_rng(n_patients)
    blend = Blend.fit(rng.normal(size=50), rng.normal(size=50), n_patients)
    values = np.sort(values)
    scores = blend.score(np.zeros(len(values)), values)
    assert np.all(np.diff(scores) >= -1e-12)
    assert np.all(scores >= np.log(1 - blend.prior) * blend.distance_deviation - 1e-12)
    assert np.all(np.diff(blend.share(values)) >= -1e-12)


def test_no_labels_to_speak_of_leave_the_distance(rng):
    blend = Blend.fit(rng.normal(size=50), rng.normal(size=50), n_patients=0)
    distances = rng.normal(size=8)
    np.testing.assert_allclose(blend.score(distances, rng.normal(size=8)), distances)


def test_likeness_counts_for_nothing_where_far_normals_are_the_like_ones(rng):
    distances = np.linspace(0, 1, 30)
    alike = np.stack([distances, 3 * distances + 1], axis=1)
    assert gate(distances, alike, 2) < 1e-6
    for harmless in (-alike, alike * 0, distances[::-1, None]):
        assert gate(distances, harmless, 2) == 1


@given(st.integers(1, 30), st.integers(0, 20))
def test_the_gate_shuts_sooner_for_few_patients_whatever_the_number_of_labels(n_labels, seed):
    rng = np.random.default_rng(seed)
    distances = rng.normal(size=40)
    cosine = (distances * 0.2 + rng.normal(size=40))[:, None]
    open_for = [gate(distances, cosine, n_patients) for n_patients in (1, 2, 5, 1000)]
    assert 0 < open_for[0] <= open_for[1] <= open_for[2] <= open_for[3] <= 1
    assert gate(distances, np.repeat(cosine, n_labels, axis=1), 2) == pytest.approx(open_for[1])


def test_the_prior_grows_with_the_patients_up_to_a_bound():
    values = np.linspace(0, 1, 30)
    priors = [Blend.fit(values, values, n_patients).prior for n_patients in (0, 1, 10, 10**6)]
    assert priors == sorted(priors)
    assert priors[0] == 0
    assert priors[2] == pytest.approx(MOST_KNOWN / 2)
    assert priors[3] == pytest.approx(MOST_KNOWN, abs=1e-4)


def test_the_distance_speaks_alone_where_it_always_did(rng):
    distances, likeness = rng.normal(size=40), rng.normal(size=40)
    blend = Blend.fit(distances, likeness, n_patients=5)
    far, near = blend.score(np.array([9.0, 1.0]), np.full(2, -3.0))
    assert far - near == pytest.approx(8)


@pytest.mark.parametrize(
    "damage",
    [
        {"prior": 1.0},
        {"prior": float("nan")},
        {"slope": -1.0},
        {"likeness_deviation": 0.0},
        {"distance_deviation": float("inf")},
        {"distance_mean": float("inf")},
    ],
)
def test_a_damaged_blend_is_refused(damage):
    values = {"distance_mean": 0.0, "distance_deviation": 1.0, "likeness_mean": 0.0, "likeness_deviation": 1.0}
    with pytest.raises(ValueError, match="blend"):
        Blend(**{**values, "prior": 0.1, "slope": 1.0, **damage})


@pytest.mark.parametrize("labelled", [np.ones((0, 9)), np.ones((2, 8)), np.ones(9), np.full((2, 9), np.nan)])
def test_damaged_labels_are_refused(likeness, labelled):
    with pytest.raises(ValueError, match="labelled rows"):
        Likeness(likeness.normals, labelled)
