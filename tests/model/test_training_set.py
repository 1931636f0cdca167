import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.embedding.embed import Embedded
from msde.errors import DataError
from msde.model.training_set import TrainingSet


def image(name, group=None, volume=None, pixels=None, embedding=True):
    pixels = name if pixels is None else pixels
    row = np.frombuffer(pixels.encode().ljust(4)[:4], np.uint8).astype(np.float32)
    return Embedded(
        name if group is None else f"{group}|{name}", row if embedding else None, pixels.encode(), None, volume
    )


def keys(image):
    return [("label", image.name.partition("|")[0])] if "|" in image.name else []


def collect(*images):
    return TrainingSet.collect(images, "normal", 1, keys)


def test_images_of_a_patient_and_of_a_volume_are_one_group():
    found = collect(
        image("a", "p1"), image("b", volume="v"), image("c", "p1", volume="v"), image("d", "p2"), image("e", volume="w")
    )
    by_name = dict(zip([name.rpartition("|")[2] for name in found.names], found.groups.tolist(), strict=True))
    assert by_name["a"] == by_name["b"] == by_name["c"]
    assert len(set(by_name.values())) == 3
    patients = dict(zip([name.rpartition("|")[2] for name in found.names], found.patients.tolist(), strict=True))
    assert patients["e"] == -1
    assert min(patients[name] for name in "abcd") >= 0


def test_a_copy_joins_the_patients_of_both():
    found = collect(image("a", "p1"), image("b", "p2"), image("c", "p2", pixels="a"))
    assert found.n_copies == 1
    assert found.groups.tolist() == [0, 0]


def test_rows_of_no_known_group_keep_their_order_and_stand_alone():
    found = collect(*(image(name) for name in "zyx"), image("a", "p1"))
    assert [name.rpartition("|")[2] for name in found.names] == ["z", "y", "x", "a"]
    assert found.groups.tolist() == [-1, -1, -1, 0]
    images, volumes, patients = found.calibrations(np.arange(4.0), 0.3, "test")
    assert images.n_units == 4
    assert volumes is None
    assert patients.n_patients == 1


def test_where_nothing_is_known_there_are_no_groups_to_hold_out():
    found = collect(*(image(name) for name in "zyx"))
    assert found.held_out is None
    assert found.calibrations(np.arange(3.0), 0.3, "test")[0].groups is None


def test_one_group_of_all_holds_nothing_out():
    assert collect(image("a", "p"), image("b", "p")).held_out is None


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_neither_order_nor_names_change_a_set_whose_groups_are_known(groups, random):
    listed = [(f"{number:02}", group) for number, group in enumerate(groups)]
    shuffled = random.sample(listed, len(listed))
    one = collect(*(image(pixels, f"p{group}", f"v{group % 2}", pixels) for pixels, group in listed))
    other = collect(
        *(image(f"n{k}", f"q{9 - group}", f"w{group % 2}", pixels) for k, (pixels, group) in enumerate(shuffled))
    )
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.groups, other.groups)
    np.testing.assert_array_equal(one.patients, other.patients)
    assert one.digests == other.digests
    assert sorted(sorted(rows) for rows in one.volumes.values()) == sorted(
        sorted(rows) for rows in other.volumes.values()
    )


def test_calibrations_say_which_kind_they_are():
    scores = np.arange(4.0)
    alone = collect(*(image(name) for name in "abcd"))
    of_patients = collect(*(image(name, f"p{name}") for name in "abcd"))
    of_volumes = collect(*(image(name, volume="vw"[name > "b"]) for name in "abcd"))
    sources = [one.calibrations(scores, 0.2, "held-out")[0].source for one in (alone, of_patients, of_volumes)]
    assert sources == ["held-out normals", "held-out normals, by patient", "held-out normals, by volume"]


def test_volumes_of_a_patient_are_one_unit():
    found = collect(*(image(f"{v}{n}", f"p{v // 2}", f"v{v}") for v in range(4) for n in range(3)))
    _, volumes, patients = found.calibrations(np.arange(12.0), 0.4, "test")
    assert len(volumes.scores) == 4
    assert volumes.n_units == patients.n_patients == 2
    assert not math.isinf(volumes.threshold)


def test_too_few_usable_images_are_refused_with_the_first_reason():
    with pytest.raises(DataError, match="1 of 3 normal images can be used, 1 are copies"):
        TrainingSet.collect([image("a"), image("b", pixels="a"), image("c", embedding=False)], "normal", 2)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=12), st.integers(0, 12))
def test_sets_put_together_are_what_one_set_would_be(listed, at):
    images = [image(f"{pixels}", f"p{group}", pixels=f"{pixels}") for pixels, group in listed]
    parts = [collect(*images[:at]) if at else None, collect(*images[at:]) if images[at:] else None]
    joined = TrainingSet.union([part for part in parts if part])
    whole = collect(*images)
    assert (joined.digests, joined.n_copies, joined.copies) == (whole.digests, whole.n_copies, whole.copies)
    assert joined.keys == whole.keys
    np.testing.assert_array_equal(joined.rows, whole.rows)
    np.testing.assert_array_equal(joined.groups, whole.groups)


def test_a_volume_that_loses_a_part_is_whole_no_longer():
    found = collect(*(image(f"{v}{n}", volume=f"v{v}") for v in range(2) for n in range(2)))
    assert found.only(np.ones(4, dtype=bool)).whole == found.whole
    fewer = found.only(np.array([digest != found.digests[0] for digest in found.digests]))
    assert len(fewer.rows) == 3
    assert len(fewer.whole) == 1
    assert [fewer.digests[row] for row in fewer.whole[0]] in [
        [found.digests[row] for row in rows] for rows in found.whole
    ]
