"""Structured Report: score, p-value, threshold and algorithm in the measurement template TID 1500."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msde.dicom.equipment import MANUFACTURER, bare, complete, derived_uid, highdicom, identity
from msde.dicom.result import RESEARCH_USE, Result
from msde.dicom.source import read_series, read_study

if TYPE_CHECKING:
    from pydicom import Dataset

# Concepts that no public coding scheme has.
SCHEME = "99MSDE"
ANOMALY_SCORE = ("1", SCHEME, "Anomaly score")
P_VALUE = ("2", SCHEME, "Conformal p-value")
FLAGGED = ("3", SCHEME, "Anomaly score above threshold")


def structured_report(sources: Sequence[Dataset], result: Result, *, of_patient: bool = False) -> Dataset:
    """Make a Comprehensive SR document of a result.

    Parameters
    ----------
    sources : sequence of pydicom.Dataset
        The images of one series that were scored together; frames may be many.
    result : Result
    of_patient : bool, default=False
        Whether the result is of all images of a patient; the sources are then those of one study, of any series.

    Returns
    -------
    pydicom.Dataset
        Of the sources' study, in a series of its own. It is preliminary, unverified and marked as research use.

    Raises
    ------
    ImageError
        If a source is no image or lacks a UID.
    DataError
        If the sources are not of one series, or one study.
    OutputError
        If highdicom is missing.
    """
    highdicom()
    from highdicom import sr
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from pydicom.sr.codedict import codes

    images = read_study(sources) if of_patient else read_series(sources)
    arguments = identity(images, result, "patient report" if of_patient else "structured report")
    uid = arguments["sop_instance_uid"]
    numbers = (
        (sr.CodedConcept(*ANOMALY_SCORE), result.anomaly_score),
        (sr.CodedConcept(*P_VALUE), result.p_value),
        (codes.DCM.ThresholdValue, result.threshold),
        (codes.DCM.LevelOfSignificance, result.alpha),
    )
    truths = {True: codes.SCT.Yes, False: codes.SCT.No}
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=derived_uid(result, uid, "tracking"), identifier="MSDE"),
        algorithm_id=sr.AlgorithmIdentification(
            name=MANUFACTURER,
            version=arguments["software_versions"][0],
            manufacturer=MANUFACTURER,
            parameters=[
                f"model {result.model_name}",
                f"model version {result.model_version}",
                f"model sha256 {result.model_sha256}",
            ],
        ),
        measurements=[
            sr.Measurement(name=name, value=float(value), unit=codes.UCUM.NoUnits)
            for name, value in numbers
            if math.isfinite(value)
        ],
        qualitative_evaluations=[sr.QualitativeEvaluation(name=sr.CodedConcept(*FLAGGED), value=truths[result.flagged])]
        if result.flagged is not None
        else None,
        source_images=[sr.SourceImageForMeasurementGroup(image.sop_class, image.instance) for image in images],
    )
    group[0].ContentSequence.extend(
        sr.TextContentItem(codes.DCM.Comment, text, sr.RelationshipTypeValues.CONTAINS)
        for text in (RESEARCH_USE, result.text)
        if text
    )
    observer = sr.ObserverContext(
        codes.DCM.Device,
        sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid(result, "device"),
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=result.model_name,
            serial_number=result.model_sha256,
        ),
    )
    content = sr.MeasurementReport(
        sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[group],
    )
    report: Dataset = sr.ComprehensiveSR(
        [bare(image) for image in images],
        content[0],
        coding_schemes=[
            CodingSchemeIdentificationItem(SCHEME, name=MANUFACTURER, responsible_organization=MANUFACTURER)
        ],
        **arguments,
    )
    complete(report, images[0], result, {})
    return report
