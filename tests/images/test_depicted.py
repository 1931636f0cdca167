import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.images import Part
from msde.images.depicted import REGIONS, Depicted, depicted, regions_in

from .medical import SECRETS, dicom_bytes, dicom_dataset, saved


@pytest.mark.parametrize(
    ("text", "regions"),
    [
        *(("CHEST", "CHEST"), ("Thorax PA", "CHEST"), ("LUNG", "CHEST"), ("BRAIN", "HEAD"), ("HEADNECK", "HEAD NECK")),
        *(("CHESTABDPELVIS", "CHEST PELVIS"), ("CHEST_ABDOMEN", "ABDOMEN CHEST"), ("WRIST", "ARM HAND"), ("", "")),
        *(("WHOLEBODY", "WHOLE BODY"), ("WHOLE BODY", "WHOLE BODY"), ("BÜSTE", ""), ("Router", ""), ("HIP", "PELVIS")),
    ],
)
def test_regions_are_known_by_the_words_that_are_in_use(text, regions):
    assert regions_in(text) == ({"WHOLE BODY"} if regions == "WHOLE BODY" else set(regions.split()))


@given(st.text(max_size=20))
def test_any_text_names_known_regions_or_none(text):
    assert regions_in(text) <= set(REGIONS)


def test_what_an_image_depicts_is_read_of_its_header_and_nothing_else(tmp_path):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    file = tmp_path / "a.dcm"
    file.write_bytes(dicom_bytes(values, Modality="MR", BodyPartExamined="BRAIN", **SECRETS))
    assert depicted(file) == depicted(Part(str(file), str(file), "1")) == Depicted("MR", frozenset({"HEAD"}))
    file.write_bytes(dicom_bytes(values, Modality="CR", BodyPartExamined="VARIOUS"))
    assert depicted(file) == Depicted("CR", frozenset())
    for untold in ("", "OT"):
        file.write_bytes(dicom_bytes(values, Modality=untold, BodyPartExamined="CHEST"))
        assert depicted(file) is None
    for other in (values, tmp_path / "none.dcm", tmp_path / "b.png", 7, None):
        assert depicted(other) is None
    (tmp_path / "c.dcm").write_bytes(b"no DICOM at all")
    assert depicted(tmp_path / "c.dcm") is None


def test_another_file_of_the_same_time_and_size_in_its_place_is_read(tmp_path):
    file, values = tmp_path / "a.dcm", np.arange(256, dtype=np.uint16).reshape(16, 16)
    coming, dataset = {}, dicom_dataset(values)
    for modality in ("MR", "CT"):
        dataset.Modality = modality
        coming[modality] = tmp_path / modality
        coming[modality].write_bytes(saved(dataset))
        os.utime(coming[modality], ns=(0, 0))
    assert len({path.stat().st_size for path in coming.values()}) == 1
    for modality, path in coming.items():
        path.replace(file)
        assert depicted(file) == Depicted(modality, frozenset())
