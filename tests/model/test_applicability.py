from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.images.medical import dicom_bytes
from tests.pictures import disc

from msde import AnomalyModel
from msde.errors import DataError
from msde.images.depicted import REGIONS, Depicted
from msde.model.applicability import Applicability
from msde.storage.bundle import format_version

IMAGES = st.builds(Depicted, st.sampled_from(["CR", "DX", "CT", "MR"]), st.frozensets(st.sampled_from(REGIONS[:4])))


def of(modality, *regions):
    return Depicted(modality, frozenset(regions))


@given(st.lists(IMAGES, min_size=1, max_size=60))
def test_no_normal_of_a_few_is_refused_by_what_is_learnt_of_them(normals):
    known = Applicability.of(normals)
    assert all(known.why_not(normal) is None for normal in normals)
    assert known.why_not(None) is None
    assert known.why_not(of("OP")).startswith("not for this model: it is OP, and the model is for ")


@given(st.lists(IMAGES, min_size=1, max_size=20), IMAGES)
def test_an_image_is_for_a_model_that_states_what_it_learnt(normals, image):
    learnt = Applicability.of(normals)
    stated = Applicability.stated(learnt.to)
    assert (stated.why_not(image) is None) == (learnt.why_not(image) is None)


def test_the_modality_and_the_body_part_of_the_normals_are_what_a_model_is_for():
    known = Applicability.of([of("DX", "CHEST")] * 150 + [of("DX")] * 50 + [of("MR", "HEAD"), None])
    assert known.to == ("DX:CHEST",)
    assert known.source == "by DICOM headers of 201 of 202 normals"
    assert known.in_words == "DX of CHEST"
    for image in (of("DX", "CHEST"), of("DX"), of("CR", "CHEST", "ABDOMEN")):
        assert known.why_not(image) is None
    assert "it is MR of HEAD, and" in (known.why_not(of("MR", "HEAD")) or "")
    assert "it is DX of HAND, and" in (known.why_not(of("DX", "HAND")) or "")
    assert Applicability.of([of("DX")] * 60 + [of("DX", "CHEST")] * 40).to == ("DX",)
    assert Applicability.of([None] * 60 + [of("DX", "CHEST")] * 40) is None


@pytest.mark.parametrize(
    ("stated", "reason"),
    [(["x-ray"], "names no modality"), (["DX:LUNGE"], "no body part that is known"), (["any", "DX"], "no modality")],
)
def test_what_is_none_is_refused(stated, reason):
    with pytest.raises(DataError, match=reason):
        Applicability.stated(stated)


def test_a_model_keeps_what_it_is_for_and_does_not_score_others(network, tmp_path):
    rng = np.random.default_rng(0)
    normals, others = tmp_path / "normals", tmp_path / "others"
    for folder, header in ((normals, ("DX", "CHEST")), (others, ("MR", "BRAIN"))):
        folder.mkdir()
        for number in range(3):
            modality, part = header
            content = dicom_bytes(disc(rng).astype(np.uint16), Modality=modality, BodyPartExamined=part)
            (folder / f"{number}.dcm").write_bytes(content)
    model = AnomalyModel(network).fit(normals, heatmaps=False)
    assert model.info()["applies_to"] == {"to": ("DX:CHEST",), "source": "by DICOM headers of 3 of 3 normals"}
    model.save(tmp_path / "chest.msde")
    again = AnomalyModel.load(tmp_path / "chest.msde")
    assert format_version(tmp_path / "chest.msde") == 5
    refused = again.score(others)[0]
    assert refused.error == f"{others}/0.dcm: not for this model: it is MR of HEAD, and the model is for DX of CHEST"
    assert np.isnan(refused.anomaly_score)
    assert again.score(normals)[0].error is None
    assert again.score([disc(rng)])[0].error is None
    open_to_all = AnomalyModel.of(replace(model.fitted, applies_to=None), model.session)
    open_to_all.save(tmp_path / "any.msde")
    assert AnomalyModel.load(tmp_path / "any.msde").score(others)[0].error is None
    for stated, expected in ((["any"], None), (["mr"], {"to": ("MR",), "source": "stated at the fit"})):
        fitted = AnomalyModel(network).fit(normals, heatmaps=False, applies_to=stated)
        assert fitted.info()["applies_to"] == expected
