from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import highdicom
import pytest
from pydicom import Dataset

from msde.dicom import Result, structured_report
from msde.errors import DataError

from .sources import SOURCES, neighbour, radiograph, shipped, ultrasound, written


def items(content: Dataset) -> Iterator[Dataset]:
    for item in content.get("ContentSequence", []):
        yield item
        yield from items(item)


def named(content: Dataset, name: str) -> list[Dataset]:
    return [item for item in items(content) if item.ConceptNameCodeSequence[0].CodeMeaning == name]


def numbers(content: Dataset) -> dict[str, float]:
    return {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.MeasuredValueSequence[0].FloatingPointValue
        for item in items(content)
        if item.ValueType == "NUM"
    }


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_score_p_value_threshold_and_algorithm_read_back(tmp_path: Path, source, result: Result) -> None:
    image = source()
    report = written(structured_report([image], result), tmp_path)
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert numbers(report) == {
        "Anomaly score": 3.25,
        "Conformal p-value": 0.0125,
        "Threshold Value": 2.5,
        "Level of Significance": 0.05,
    }
    (flagged,) = named(report, "Anomaly score above threshold")
    assert flagged.ConceptCodeSequence[0].CodeMeaning == "Yes"
    assert [item.TextValue for item in named(report, "Algorithm Name")] == ["MSDE"]
    assert [item.TextValue for item in named(report, "Algorithm Parameters")] == [
        "model chest radiographs",
        "model version 2.1",
        f"model sha256 {result.model_sha256}",
    ]
    assert [item.TextValue for item in named(report, "Comment")] == [
        "Research use only, not for diagnosis",
        result.text,
    ]
    (reference,) = named(report, "Source of Measurement")
    assert reference.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID


def test_highdicom_finds_the_measurements(tmp_path: Path, result: Result) -> None:
    written(structured_report([shipped("CT_small.dcm")], result), tmp_path)
    report = highdicom.sr.srread(tmp_path / "source.dcm")
    (group,) = report.content.get_image_measurement_groups()
    assert [measurement.value for measurement in group.get_measurements()] == [3.25, 0.0125, 2.5, 0.05]


def test_nobody_has_verified_it(result: Result) -> None:
    report = structured_report([radiograph()], result)
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert report.PreliminaryFlag == "PRELIMINARY"


def test_what_is_not_known_is_left_out(result: Result) -> None:
    unknown = replace(result, p_value=nan, threshold=inf, flagged=None, text="")
    report = structured_report([radiograph()], unknown)
    assert numbers(report) == {"Anomaly score": 3.25, "Level of Significance": 0.05}
    assert named(report, "Anomaly score above threshold") == []
    assert len(named(report, "Comment")) == 1


def test_a_normal_image_is_not_flagged(result: Result) -> None:
    (flagged,) = named(
        structured_report([radiograph()], replace(result, flagged=False)), "Anomaly score above threshold"
    )
    assert flagged.ConceptCodeSequence[0].CodeMeaning == "No"


def test_a_series_has_one_report_in_whatever_order(result: Result) -> None:
    first, second = radiograph(), neighbour(radiograph())
    one, other = structured_report([first, second], result), structured_report([second, first], result)
    assert one.SOPInstanceUID == other.SOPInstanceUID != structured_report([first], result).SOPInstanceUID
    evidence = one.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert {item.ReferencedSOPInstanceUID for item in evidence} == {first.SOPInstanceUID, second.SOPInstanceUID}
    assert len(named(one, "Source of Measurement")) == 2


def test_two_series_are_refused(result: Result) -> None:
    with pytest.raises(DataError, match="not of one series"):
        structured_report([radiograph(), ultrasound()], result)


def test_an_image_of_many_frames_has_a_report(result: Result) -> None:
    assert numbers(structured_report([shipped("SC_rgb_rle_2frame.dcm")], result))["Anomaly score"] == 3.25
