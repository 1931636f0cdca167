"""Which images are of one patient: names, tables, headers."""

import os
from pathlib import Path

import numpy as np
import pytest

from msde.errors import DataError
from msde.images import find_images
from msde.images.patients import GroupTable, Patients, settled

from .medical import dicom_bytes


def table(folder, *rows, header="path,group"):
    path = folder / "groups.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def radiograph(folder, name, **elements):
    path = folder / name
    path.write_bytes(dicom_bytes(np.arange(64, dtype=np.uint16).reshape(8, 8), **elements))
    return path


def test_a_pattern_tells_patients_by_what_it_finds_in_the_path_or_by_its_group():
    by_all, by_group = Patients(r"p\d+", headers=False), Patients(r"/(p\d+)_", headers=False)
    for patients in (by_all, by_group):
        keys = [patients.keys(Path(name)) for name in ("a/p1_2.png", "b/p1_3.png", "a/p2_2.png", "a/x.png")]
        assert keys[0] == keys[1]
        assert keys[0] != keys[2]
        assert not keys[3]
    assert by_group.label("a/p1_2.png") == by_all.label("a/p1_2.png") == "p1"


def test_nothing_of_a_patient_is_in_the_keys_and_another_salt_gives_others(tmp_path):
    path = radiograph(tmp_path, "a.dcm", PatientID="ID-4711")
    keys = Patients().keys(path)
    assert keys
    assert "4711" not in repr(keys)
    assert Patients().keys(path) != keys
    assert "salt" not in repr(Patients())


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(DataError, match="no regular expression"):
        Patients("(")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"PatientID": "7"}, {"PatientID": "7"}, True),
        ({"PatientID": "7 "}, {"PatientID": "7"}, True),
        ({"PatientID": "7"}, {"PatientID": "8"}, False),
        ({"PatientID": "", "StudyInstanceUID": "1.2.3"}, {"PatientID": " ", "StudyInstanceUID": "1.2.3"}, True),
        ({"PatientID": "", "StudyInstanceUID": "1.2.3"}, {"PatientID": "", "StudyInstanceUID": "1.2.4"}, False),
        ({"PatientID": "7", "StudyInstanceUID": "1.2.3"}, {"PatientID": "7", "StudyInstanceUID": "1.2.4"}, True),
    ],
)
def test_dicom_goes_by_patient_id_and_where_that_is_blank_by_study(tmp_path, one, other, same):
    read = [Patients("x", salt="00").keys(radiograph(tmp_path, f"{n}.dcm", **e)) for n, e in enumerate((one, other))]
    keys, note = settled(read, one_is_none=False)
    assert all(keys)
    assert note is None
    assert (keys[0] == keys[1]) == same
    assert not Patients(headers=False).keys(tmp_path / "0.dcm")


def test_a_patient_id_of_all_normals_tells_nothing_and_studies_take_its_place(tmp_path):
    paths = [radiograph(tmp_path, f"{n}.dcm", PatientID="ANON", StudyInstanceUID=f"1.2.{n // 2}") for n in range(4)]
    read = [*map(Patients().keys, paths), frozenset()]
    keys, note = settled(read, one_is_none=True)
    assert keys[0] == keys[1]
    assert not keys[0] & keys[2]
    assert note is not None
    assert note.startswith("all 4 DICOM images state one PatientID")
    assert "ANON" not in note
    scored, note = settled(read, one_is_none=False)  # images of one patient may well be scored together
    assert scored[0] == scored[2]
    assert note is None
    other = Patients().keys(radiograph(tmp_path, "blank.dcm", PatientID="", StudyInstanceUID="1.2.9"))
    assert settled([*read, other], one_is_none=True)[1] is None
    one_study, note = settled(read[:2], one_is_none=True)
    assert one_study == [frozenset()] * 2
    assert note is not None
    assert "one PatientID and one StudyInstanceUID" in note


def test_dicom_without_either_and_files_that_cannot_be_read_have_no_key(tmp_path):
    (tmp_path / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 30)
    blank = radiograph(tmp_path, "blank.dcm", PatientID="")
    for source in (blank, tmp_path / "bad.dcm", tmp_path / "gone.dcm", np.zeros((4, 4)), None):
        assert Patients().keys(source) == frozenset()


def test_all_frames_of_a_file_are_of_its_patient(tmp_path):
    path = tmp_path / "run.dcm"
    path.write_bytes(dicom_bytes(np.arange(192, dtype=np.uint8).reshape(3, 8, 8), PatientID="7"))
    parts = find_images([path])
    patients = Patients()
    assert len(parts) == 3
    assert {patients.keys(part) for part in [*parts, *map(str, parts)]} == {patients.keys(path)}


def test_a_file_in_the_place_of_another_is_read_though_it_was_changed_at_the_same_time(tmp_path):
    path, other = (radiograph(tmp_path, name, PatientID=of) for name, of in (("a.dcm", "ID-1"), ("b.dcm", "ID-4711")))
    patients = Patients()
    assert patients.keys(path)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    expected = patients.keys(other)
    other.replace(path)
    assert patients.keys(path) == expected


def test_a_table_tells_files_and_all_below_folders_the_nearest_first(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/a.png", "in/b.png", "in/deep/c.png", "d.png"):
        (tmp_path / name).touch()
    (tmp_path / "link.png").symlink_to(tmp_path / "in" / "a.png")
    found = GroupTable.read(table(tmp_path, "in,one", f"{tmp_path}/in/b.png,two", "in/deep/../deep,three"))
    names = ("in/a.png", "in/b.png", "in/deep/c.png", "d.png", "link.png")
    assert [found.group(str(tmp_path / name)) for name in names] == ["one", "two", "three", None, "one"]
    assert Patients(table=found).label(tmp_path / "in" / "b.png") == "two"


def test_a_table_takes_addresses_as_they_are(tmp_path):
    found = GroupTable.read(table(tmp_path, "s3://bucket/p1,one", "s3://bucket/p2/a.png,two"))
    assert found.group("s3://bucket/p1/x.png") == "one"
    assert found.group("s3://bucket/p2/a.png") == "two"
    assert found.group("s3://bucket/p2/b.png") is None


def test_paths_of_a_table_that_do_not_exist_are_told(tmp_path):
    (tmp_path / "a.png").touch()
    told: list[str] = []
    GroupTable.read(table(tmp_path, "a.png,1", "b.png,1", "c.png,2"), told.append)
    assert told == [f"{tmp_path / 'groups.csv'}: 2 of its 3 paths do not exist, such as b.png"]


@pytest.mark.parametrize(
    ("rows", "header", "reason"),
    [
        (["a.png,1", "./a.png,2"], "path,group", "line 3: ./a.png is in another group before"),
        (["a.png,1", ",2"], "path,group", "line 3: lacks its path or group"),
        (["a.png,"], "path,group", "line 2: lacks its path or group"),
        (["a.png"], "path,group", "line 2: lacks its path or group"),
        (["a.png,1"], "file,group", "has no column path but file, group"),
        ([], "path,group", "has no rows"),
        ([], "", "has no column path"),
    ],
)
def test_bad_tables_are_refused_with_the_line(tmp_path, rows, header, reason):
    with pytest.raises(DataError, match=reason):
        GroupTable.read(table(tmp_path, *rows, header=header))


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        GroupTable.read(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("path,group\nä.png,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read"):
        GroupTable.read(tmp_path / "latin.csv")


def test_a_row_that_is_said_twice_alike_is_no_contradiction(tmp_path):
    assert len(GroupTable.read(table(tmp_path, "a.png,1", "a.png,1")).groups) == 1


def test_ways_join(tmp_path):
    for name in ("p1_a.png", "p1_b.png", "c.png"):
        (tmp_path / name).touch()
    patients = Patients(r"p\d", GroupTable.read(table(tmp_path, "p1_b.png,x", "c.png,x")))
    first, second, third = (patients.keys(tmp_path / name) for name in ("p1_a.png", "p1_b.png", "c.png"))
    assert first & second
    assert second & third
    assert not first & third
