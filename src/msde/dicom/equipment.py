"""What makes a result an object of its own: identifiers, times, equipment, and the mark of research use."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msde import __version__
from msde.dicom.result import RESEARCH_USE, Result
from msde.errors import OutputError

if TYPE_CHECKING:
    from pydicom import Dataset

    from msde.dicom.source import Source

MANUFACTURER = "MSDE"
SERIES_NUMBERS = {"secondary capture": 9901, "parametric map": 9902, "structured report": 9903, "patient report": 9904}


def highdicom() -> Any:
    """Import highdicom; raise OutputError if it is not installed."""
    try:
        import highdicom
    except ImportError as error:
        raise OutputError("DICOM results need highdicom; run `pip install 'msde[dicom]'`") from error
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # below that it writes down UIDs of the patient's images
    return highdicom


def derived_uid(result: Result, *parts: str) -> str:
    """Derive a UID from the model and further parts, so that a retry gives the same one."""
    return _derived(result.model_sha256, *parts)


def _derived(model_sha256: str, *parts: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["msde", model_sha256, *parts]))


def is_result(header: Dataset) -> bool:
    """Whether an object is a picture made here, by any model: its UID is the one derived from model and source images.

    Who wrote the manufacturer's name into another picture has not given it such a UID.

    Parameters
    ----------
    header : pydicom.Dataset
        With manufacturer, serial number, UID and source images.
    """
    from msde.images.dicom_header import read_text

    maker, serial, uid = (
        read_text(header, keyword) or "" for keyword in ("Manufacturer", "DeviceSerialNumber", "SOPInstanceUID")
    )
    if maker != MANUFACTURER:
        return False
    sources = sorted(str(item.get("ReferencedSOPInstanceUID")) for item in header.get("SourceImageSequence") or ())
    return uid in {_derived(serial, *sources, kind) for kind in SERIES_NUMBERS}


def identity(sources: Sequence[Source], result: Result, kind: str) -> dict[str, Any]:
    """Return what highdicom asks for in every kind of object, a key of `SERIES_NUMBERS`, as keyword arguments.

    The sources are of one series, those of a patient report of one study. Results of one model, series (or study) and
    kind share a series.
    """
    whole = sources[0].study if kind == "patient report" else sources[0].series
    return {
        "series_instance_uid": derived_uid(result, whole, kind, "series"),
        "series_number": SERIES_NUMBERS[kind],
        "sop_instance_uid": derived_uid(result, *sorted(source.instance for source in sources), kind),
        "instance_number": min(source.number for source in sources),
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": result.model_name,
        "software_versions": [f"msde {__version__}", result.model_version],
        "device_serial_number": result.model_sha256,
        "series_description": f"MSDE {kind}: {RESEARCH_USE.lower()}",
        "specific_character_set": "ISO_IR 192",
    }


def bare(source: Source) -> Dataset:
    """Return a header with the source's identifiers and none of the patient's, for highdicom to refer to."""
    from pydicom import Dataset

    header = Dataset()
    for keyword in source.patient_and_study:
        setattr(header, keyword, None)
    header.StudyInstanceUID, header.SeriesInstanceUID = source.study, source.series
    header.SOPInstanceUID, header.SOPClassUID = source.instance, source.sop_class
    header.Rows, header.Columns = source.rows, source.columns
    return header


def reference(source: Source) -> Dataset:
    """Return an item that names the source as what the result was made from."""
    from highdicom.sr import CodedConcept
    from pydicom import Dataset
    from pydicom.sr.codedict import codes

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.sop_class, source.instance
    item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)]
    return item


def complete(dataset: Dataset, source: Source, result: Result, further: Mapping[str, str]) -> None:
    """Add patient, study, times and the mark of research use to an object that is otherwise finished.

    `further` are the attributes of the source that this kind of object takes over, by keyword.
    """
    for keyword, value in {**source.patient_and_study, **further}.items():
        setattr(dataset, keyword, value.split("\\") if "\\" in value else value)
    dataset.ContentQualification = "RESEARCH"
    day, moment = result.scored_at.strftime("%Y%m%d"), result.scored_at.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate = dataset.ContentDate = day
    dataset.InstanceCreationTime = dataset.ContentTime = moment
    for equipment in dataset.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = day + moment
