import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msde.method.patient_score import PatientCalibration


@st.composite
def patients(draw):
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=12))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return draw(arrays(float, len(groups), elements=st.integers(0, 30).map(float))), groups


images = arrays(float, st.integers(1, 15), elements=st.integers(0, 30).map(float))


@given(patients(), images, st.floats(0, 9))
def test_higher_scores_never_mean_a_higher_p_value(held_out, new, more):
    calibration = PatientCalibration(held_out[0], held_out[1], 0.05, "test")
    low, high = calibration.p_value(new + more), calibration.p_value(new)
    assert calibration.resolution <= low <= high <= 1
    assert calibration.p_value(new[:1] + 100) == calibration.resolution
    assert calibration.p_value(new - 100) == 1


@given(patients(), images, st.randoms(use_true_random=False))
def test_neither_the_order_of_images_nor_the_names_of_patients_matter(held_out, new, random):
    values, groups = held_out
    order, names = list(range(len(values))), list(range(50, 50 + groups.max() + 1))
    random.shuffle(order)
    random.shuffle(names)
    renamed = PatientCalibration(values[order], np.array(names)[groups][order], 0.05, "test")
    shuffled = np.array(random.sample(list(new), len(new)))
    assert renamed.p_value(shuffled) == PatientCalibration(values, groups, 0.05, "test").p_value(new)


@given(images, images)
def test_patients_of_one_image_are_images(held_out, new):
    calibration = PatientCalibration(held_out, np.arange(len(held_out)), 0.05, "test")
    for score in new:
        expected = (1 + (held_out >= score).sum()) / (len(held_out) + 1)
        assert calibration.p_value(np.array([score])) == pytest.approx(expected)


def test_an_image_without_a_score_leaves_its_patient_without_a_p_value():
    assert math.isnan(PatientCalibration(np.ones(3), np.arange(3), 0.05, "test").p_value(np.array([1.0, np.nan])))


@pytest.mark.slow
@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("sizes", "size"), [((8,), 3), ((8,), 8), ((30,), 30), ((2, 9, 16), 5), ((4,), 12), ((1,), 6)])
def test_new_patients_are_flagged_as_often_as_asked_whatever_their_number_of_images(rng, alike, sizes, size):
    def drawn(n_images):
        return np.sqrt(alike) * rng.normal() + np.sqrt(1 - alike) * rng.normal(size=n_images)

    flagged = []
    for _ in range(60):
        of_patients = [drawn(rng.choice(sizes)) for _ in range(99)]
        groups = np.repeat(np.arange(99), list(map(len, of_patients)))
        calibration = PatientCalibration(np.concatenate(of_patients), groups, 0.1, "test")
        flagged += [calibration.flagged(calibration.p_value(drawn(size))) for _ in range(20)]
    rate = np.mean(flagged)
    # Where a patient has more images than most of the calibration, the mean of draws varies less: fewer are flagged.
    assert rate <= 0.13
    assert rate >= 0.07 or np.median(sizes) < size


@pytest.mark.parametrize(
    ("scores", "groups", "alpha"),
    [([], [], 0.05), ([np.nan], [0], 0.05), ([1.0], [0, 1], 0.05), ([1.0], [0.5], 0.05), ([1.0], [0], 1.0)],
)
def test_what_cannot_calibrate_is_refused(scores, groups, alpha):
    with pytest.raises(ValueError, match="calibration|alpha"):
        PatientCalibration(np.array(scores, float), np.array(groups), alpha, "test")
