import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.benchmark.draws import Split, Subset, at_share, halves, hide, label
from msde.errors import DataError


def subset(n, first, images_a_patient=2):
    return Subset(np.arange(first, first + n), (np.arange(n) + first) // images_a_patient)


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.01, 0.99), st.integers(0, 9))
def test_a_draw_takes_each_row_once_and_the_share_within_a_row(n_normal, n_abnormal, share, seed):
    tested = [subset(n_normal, 0), subset(n_abnormal, 1000)]
    drawn = at_share(np.random.default_rng(seed), tested, share)
    for part, whole in zip(drawn, tested, strict=True):
        assert len(set(part.rows)) == len(part) > 0
        assert set(part.rows) <= set(whole.rows)
    normal, abnormal = map(len, drawn)
    if min(normal, abnormal) > 1:
        assert abs(abnormal - share * (normal + abnormal)) <= 1


def test_every_normal_can_be_kept(rng):
    normal, abnormal = at_share(rng, [subset(100, 0), subset(2, 1000)], 0.1, every_normal=True)
    assert (len(normal), len(abnormal)) == (100, 2)


def test_halves_share_no_patient_and_lose_no_image(rng):
    normal, abnormal = subset(40, 0), subset(30, 20)
    one, other = halves(rng, normal, abnormal)
    assert not {*one[0].patients, *one[1].patients} & {*other[0].patients, *other[1].patients}
    assert len(one[0]) + len(other[0]) == 40
    assert len(one[1]) + len(other[1]) == 30


def test_halves_without_a_class_are_refused(rng):
    with pytest.raises(DataError, match="needs more patients"):
        list(halves(rng, subset(1, 0), subset(40, 1000)))


def test_patients_of_hidden_images_are_not_scored(rng):
    hidden, tested = hide(rng, Split(subset(45, 5000), subset(40, 0), subset(40, 20)), 0.1)
    assert len(hidden) == 5
    assert all(not set(hidden.patients) & set(part.patients) for part in tested)


@given(st.integers(4, 60), st.integers(1, 5), st.integers(0, 9))
def test_no_patient_is_both_labelled_and_scored(n_abnormal, images_a_patient, seed):
    kinds = np.array(["a", "b", ""])[np.arange(n_abnormal) % 3]
    abnormal = Subset(np.arange(n_abnormal), np.arange(n_abnormal) // images_a_patient)
    normal = Subset(np.arange(200, 260), np.arange(60))
    split = Split(subset(10, 900), normal, abnormal, kinds)
    if len(np.unique(abnormal.patients)) < 2:
        with pytest.raises(DataError, match="more patients"):
            label(np.random.default_rng(seed), split)
        return
    drawn = label(np.random.default_rng(seed), split)
    assert not {*drawn.labels.patients} & {*drawn.abnormal.patients, *drawn.normal.patients}
    assert {*drawn.labels.rows} | {*drawn.abnormal.rows} == {*abnormal.rows}
    np.testing.assert_array_equal(drawn.label_kinds, kinds[drawn.labels.rows])
    np.testing.assert_array_equal(drawn.kinds, kinds[drawn.abnormal.rows])
    assert {*kinds[drawn.of_kind("a").rows]} <= {"a"}
    assert {*kinds[drawn.of_others("a")[1].rows]} <= {"b"}


def test_without_kinds_none_is_told(rng):
    drawn = label(rng, Split(subset(10, 900), subset(40, 500), subset(40, 0)))
    assert set(drawn.kinds) == set(drawn.label_kinds) == {""}
