"""Patients of DICOM files in object storage, for which memory stands here."""

import fsspec
import numpy as np
import pytest
from tests.images.medical import dicom_bytes, dicom_dataset, saved

from msde.cluster import stored_headers
from msde.cluster.stored_headers import BEGINNING, StoredHeaders
from msde.images.patients import Patients

VALUES = np.zeros((8, 8), np.uint16)


def late(**elements):
    """Give a file in which more stands before the patient than is read first."""
    dataset = dicom_dataset(VALUES, **elements)
    dataset.add_new(0x00090010, "LO", "TEST")
    dataset.add_new(0x00091001, "OB", bytes(2 * BEGINNING))
    return saved(dataset)


@pytest.fixture
def bucket():
    """Images of two patients, one of a study alone, a picture, a slide, and what is missing."""
    files = fsspec.filesystem("memory")
    contents = {
        "a1.dcm": dicom_bytes(VALUES, PatientID="A", StudyInstanceUID="1.2.1"),
        "a2": dicom_bytes(VALUES, PatientID="A", StudyInstanceUID="1.2.2"),
        "a3.dcm": late(PatientID="A", StudyInstanceUID="1.2.5"),
        "b.dcm": dicom_bytes(np.zeros((300, 300), np.uint16), PatientID="B", StudyInstanceUID="1.2.3"),
        "study.dcm": dicom_bytes(VALUES, PatientID="", StudyInstanceUID="1.2.4"),
        "slide.tif": b"II*\0" + bytes(2 * BEGINNING),
        "p.png": b"\x89PNG\r\n\x1a\n",
    }
    for name, content in contents.items():
        files.pipe_file(f"/bucket/{name}", content)
    yield {name: f"memory://bucket/{name}" for name in (*contents, "gone.dcm")}
    files.rm("/bucket", recursive=True)


def kinds(keys):
    return sorted(kind for kind, _ in keys)


def test_patients_are_those_of_the_headers(bucket):
    headers = StoredHeaders.read(Patients(), bucket.values())
    keys = {name: headers.keys(address) for name, address in bucket.items()}
    of_patient = {name: {key for key in found if key[0] == "header"} for name, found in keys.items()}
    assert of_patient["a1.dcm"] == of_patient["a2"] == of_patient["a3.dcm"] != of_patient["b.dcm"]
    assert kinds(keys["b.dcm"]) == ["header", "study"]
    assert kinds(keys["study.dcm"]) == ["study"]
    assert not any(keys[name] for name in ("slide.tif", "p.png", "gone.dcm"))


def test_nothing_but_digests_is_kept(bucket):
    headers = StoredHeaders.read(Patients(), bucket.values())
    values = [value for keys in headers.of_files.values() for _, value in keys]
    assert values
    assert all(isinstance(value, bytes) and len(value) == 16 for value in values)


def test_frames_are_of_the_patient_of_their_file(bucket):
    headers = StoredHeaders.read(Patients(), [bucket["b.dcm"]])
    assert headers.keys(f"{bucket['b.dcm']}#3", bucket["b.dcm"]) == headers.keys(bucket["b.dcm"])


def test_a_pattern_joins_what_the_header_tells(bucket):
    keys = StoredHeaders.read(Patients(r"bucket/(\w)"), bucket.values()).keys(bucket["b.dcm"])
    assert kinds(keys) == ["header", "pattern", "study"]


def test_pictures_are_not_asked_for_and_slides_are_not_fetched_whole(bucket, monkeypatch):
    sizes: dict[str, list[int]] = {}
    read = stored_headers._keys_in

    def noting(patients, address, content):
        sizes.setdefault(address.rpartition("/")[2], []).append(len(content))
        return read(patients, address, content)

    monkeypatch.setattr(stored_headers, "_keys_in", noting)
    StoredHeaders.read(Patients(), bucket.values())
    assert "p.png" not in sizes
    assert sizes["slide.tif"] == sizes["b.dcm"] == [BEGINNING]
    assert len(sizes["a3.dcm"]) == 2


def test_no_file_is_read_beyond_a_limit(bucket, monkeypatch):
    monkeypatch.setattr(stored_headers, "LONGER", 2 * BEGINNING - 1)
    assert not StoredHeaders.read(Patients(), [bucket["a3.dcm"]]).of_files


def test_no_header_is_read_where_none_counts(bucket, monkeypatch):
    monkeypatch.setattr(stored_headers, "_keys", None)
    assert not StoredHeaders.read(Patients(headers=False), bucket.values()).of_files
