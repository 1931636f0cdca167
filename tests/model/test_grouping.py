import numpy as np
import pytest
from tests.pictures import disc, write_discs

from msde import AnomalyModel
from msde.errors import DataError
from msde.images import find_images
from msde.images.patients import GroupTable, Patients


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """40 discs of 20 patients, p00_0.png to p19_1.png."""
    folder = write_discs(tmp_path_factory.mktemp("named") / "discs", 40)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"p{number // 2:02}_{number % 2}.png")
    return folder


@pytest.fixture(scope="module")
def by_pattern(network, named):
    return AnomalyModel(network).fit(named, groups=Patients(r"p\d\d"), heatmaps=False)


def test_a_pattern_makes_patients_the_units(by_pattern, named):
    assert by_pattern.calibration_.n_units == by_pattern.patients_.n_patients == 20
    assert by_pattern.calibration_.source == "cross-fitted training normals, by patient"
    assert by_pattern.notes_ == []
    described = by_pattern.info()["calibration"]
    assert (described["units"], described["normals"], described["patients"]) == (20, 40, 20)
    low, high = described["false_alarm_range"]
    assert 0 <= low < 0.05 < high < 0.3
    assert described["next_useful"] == 39


def test_neither_order_nor_names_of_files_change_a_p_value_once_groups_are_given(
    network, by_pattern, named, rng, tmp_path
):
    listed = find_images([named])
    order = rng.permutation(len(listed))
    for place, number in enumerate(order):
        (tmp_path / f"{place:02}.png").write_bytes(listed[number].read_bytes())
    labels = [f"other {listed[number].name[:3]}" for number in order]
    other = AnomalyModel(network).fit(find_images([tmp_path]), groups=labels, heatmaps=False)
    np.testing.assert_array_equal(other.calibration_.scores, by_pattern.calibration_.scores)
    new = [disc(rng, lesion=lesion) for lesion in (False, True, False)]
    for one, renamed in zip(by_pattern.score(new), other.score(new), strict=True):
        assert (one.anomaly_score, one.p_value) == (renamed.anomaly_score, renamed.p_value)


def test_a_table_and_a_pattern_join(network, named, tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text(f"path,group\n{named}/p00_0.png,x\n{named}/p01_0.png,x\n")
    model = AnomalyModel(network).fit(named, groups=Patients(r"p\d\d", GroupTable.read(path)), heatmaps=False)
    assert model.calibration_.n_units == 19
    (note,) = model.notes_
    assert note.startswith(f"{path} does not tell the patient of 38 of 40 images, such as")


def test_ways_that_tell_nothing_or_put_all_together_are_refused(network, named):
    with pytest.raises(DataError, match=r"the pattern 'zzz' tells the patient of none of the 40 images"):
        AnomalyModel(network).fit(named, groups=Patients("zzz"), heatmaps=False)
    with pytest.raises(DataError, match="all 40 images are of one patient or volume by what was given"):
        AnomalyModel(network).fit(named, groups=Patients("p"), heatmaps=False)
    with pytest.raises(DataError, match="all 40 images are of one patient or volume by what was given"):
        AnomalyModel(network).fit(named, groups=["one"] * 40, heatmaps=False)


@pytest.mark.parametrize(("n_labels", "reason"), [(39, "there are more images"), (41, "1 labels more than")])
def test_labels_must_be_as_many_as_images(network, named, n_labels, reason):
    with pytest.raises(DataError, match=reason):
        AnomalyModel(network).fit(named, groups=list(range(n_labels)), heatmaps=False)


def test_calibrating_by_patient(by_pattern, named, rng):
    other = AnomalyModel.of(by_pattern.fitted, by_pattern.session)
    images = [disc(rng) for _ in range(30)]
    other.calibrate(images, groups=[n // 3 for n in range(30)])
    assert other.calibration_.n_units == other.patients_.n_patients == 10
    assert other.calibration_.source == "held-out, given to calibrate: normals, by patient"
    with pytest.raises(DataError, match="one patient"):
        other.calibrate(images, groups=["one"] * 30)


def test_a_model_file_keeps_what_patients_calibrate_and_no_name(by_pattern, tmp_path, rng):
    path = tmp_path / "model.msde"
    by_pattern.save(path)
    loaded = AnomalyModel.load(path)
    assert loaded.info() == by_pattern.info()
    values = rng.normal(by_pattern.calibration_.scores.mean(), 1, size=4)
    assert loaded.patients_.p_value(values) == by_pattern.patients_.p_value(values)
    np.testing.assert_array_equal(loaded.calibration_.groups, by_pattern.calibration_.groups)
    assert b"p07" not in path.read_bytes()


def test_confidence_goes_with_the_model(network, named, rng, tmp_path):
    model = AnomalyModel(network).fit(named, groups=Patients(r"p\d\d"), heatmaps=False, confidence=0.5)
    model.save(tmp_path / "model.msde")
    assert AnomalyModel.load(tmp_path / "model.msde").calibration_.confidence == 0.5
