import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.images import Part
from msde.images.depicted import REGIONS, Depicted, depicted, regions_in

from .medical import SECRETS, dicom_bytes


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


def test_a_file_in_the_place_of_another_is_read_though_it_was_changed_at_the_same_time(tmp_path):
    file, values = tmp_path / "a.dcm", np.arange(256, dtype=np.uint16).reshape(16, 16)
    for modality, region in (("MR", "HEAD"), ("CR", "ABDOMEN")):
        file.write_bytes(dicom_bytes(values, Modality=modality, BodyPartExamined=region))
        os.utime(file, ns=(0, 0))
        assert depicted(file) == Depicted(modality, frozenset({region}))
