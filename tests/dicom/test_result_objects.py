"""What the reports of a model that learnt from labels say."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from tests.images.medical import dicom_bytes
from tests.pictures import disc

from msde import AnomalyModel
from msde.dicom import ResultObjects

AT = datetime(2026, 1, 1)


@pytest.fixture(scope="module")
def labelled(network, discs):
    kinds = {str(discs / "abnormal"): "spot\u2028of light"}
    return AnomalyModel(network).fit(discs / "train", abnormal=discs / "abnormal", kinds=kinds, heatmaps=False)


@pytest.mark.parametrize("lesion", [True, False])
def test_the_text_tells_which_evidence_spoke_for_a_flag(labelled, tmp_path, lesion):
    values = disc(np.random.default_rng(9), lesion=lesion).astype(np.uint16)
    facts: dict[str, Any] = {"WindowCenter": 128, "WindowWidth": 256}
    facts |= {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}
    (tmp_path / "i.dcm").write_bytes(dicom_bytes(values, **facts))
    (score,) = labelled.score([tmp_path / "i.dcm"])
    objects = ResultObjects(labelled, "m", "1", "0" * 64).objects(score, AT)
    assert objects is not None
    (report,) = objects
    texts = [element.value for element in report.iterall() if element.keyword == "TextValue"]
    evidence = [line for text in texts for line in text.splitlines() if line.startswith("Evidence: ")]
    assert score.flagged == lesion
    assert evidence == (["Evidence: like the abnormal images you labelled, spot\\u2028of light."] if lesion else [])
