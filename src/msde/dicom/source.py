"""What results take over from the source image: only what the standard allows, read without a word about its values.

pydicom and highdicom quote values in warnings, log lines and errors, so text is read here from its bytes, and neither
library sees a name or an identifier of the patient before it is known to be well formed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from msde.errors import DataError, ImageError
from msde.images.decoder_warnings import decoders_silenced
from msde.images.files import damaged, format_of
from msde.images.formats import DICOM

if TYPE_CHECKING:
    from pydicom import Dataset

# Patient and study attributes that every object must have, if empty.
BLANK = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
PATIENT_AND_STUDY = (*BLANK, "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription")
# What its pixels have gone through or show; an overlay has and shows the same.
PIXELS = (
    "BurnedInAnnotation",
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "LossyImageCompressionRatio",
    "RecognizableVisualFeatures",
)

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_UID = re.compile(r"(?=.{3,64}\Z)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
# Stricter than pydicom, which allows the ranges of queries and any number of parts of a name.
_FORMS = {"DA": r"\d{8}", "TM": r"[\d.]+", "PN": r"[^=^]*(\^[^=^]*){0,4}(=[^=^]*(\^[^=^]*){0,4}){0,2}"}
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffd]")  # control characters, and what was no text
_TERMS = {
    "BurnedInAnnotation": "YES|NO",
    "ImageLaterality": "R|L",
    "Laterality": "R|L",
    "LossyImageCompression": "00|01",
    "PatientOrientation": r"[AFHLPR]{1,3}\\[AFHLPR]{1,3}",
    "PatientSex": "M|F|O",
    "RecognizableVisualFeatures": "YES|NO",
}


@dataclass(frozen=True)
class Plane:
    """Where an image lies in the patient.

    Parameters
    ----------
    frame_of_reference : str
        UID of the coordinate system.
    orientation : tuple of six floats
        Direction cosines of rows and columns.
    position : tuple of three floats
        Centre of the first pixel in mm.
    """

    frame_of_reference: str
    orientation: tuple[float, ...]
    position: tuple[float, ...]


@dataclass(frozen=True)
class Source:
    """The well-formed part of an image's header.

    Parameters
    ----------
    study, series, instance, sop_class : str
        UIDs.
    number : int
        Instance number; 1 where there is none.
    rows, columns, frames : int
        Size of the pixel grid.
    patient_and_study, of_pixels : mapping of str to str
        Values by keyword as they stand in a file: attributes in `PATIENT_AND_STUDY` and `PIXELS`. Those in `BLANK` may
        be empty; others that are empty are left out.
    laterality : str
        R, L, or empty where it is not stated.
    patient_orientation : str
        Directions of rows and columns in letters, parted by a backslash; empty where they are not stated.
    spacing : tuple of two floats or None
        Distance of rows and of columns in the patient, in mm.
    thickness : float or None
        Of the slice, in mm.
    plane : Plane or None
        None where the source is no slice, or one whose place is not stated in full.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    number: int
    rows: int
    columns: int
    frames: int
    patient_and_study: Mapping[str, str]
    of_pixels: Mapping[str, str]
    laterality: str
    patient_orientation: str
    spacing: tuple[float, ...] | None
    thickness: float | None
    plane: Plane | None


def read_source(dataset: Dataset) -> Source:
    """Read what results take over from an image.

    Parameters
    ----------
    dataset : pydicom.Dataset
        An image; pixels are not looked at.

    Returns
    -------
    Source

    Raises
    ------
    ImageError
        If it is no image, lacks one of the UIDs that tie a result to it, or its patient ID is malformed.
    """
    uids = {keyword: read_text(dataset, keyword) for keyword in _UIDS}
    for keyword, uid in uids.items():
        if not _UID.fullmatch(uid or ""):
            state = "no" if uid == "" else "a malformed"
            raise ImageError(f"the source image has {state} {keyword}; results need it, so mend the source")
    if read_text(dataset, "PatientID") is None:  # without it the result would be filed under another patient
        raise ImageError("the source image has a malformed PatientID; results need it, so mend the source")
    rows, columns = dataset.get("Rows"), dataset.get("Columns")  # binary numbers
    if not isinstance(rows, int) or not isinstance(columns, int) or rows * columns == 0:
        raise ImageError("the source is no image: it has no rows and columns; give an image")
    spacing = _numbers(dataset, "PixelSpacing", 2)
    thickness = _numbers(dataset, "SliceThickness", 1)
    return Source(
        study=uids["StudyInstanceUID"] or "",
        series=uids["SeriesInstanceUID"] or "",
        instance=uids["SOPInstanceUID"] or "",
        sop_class=uids["SOPClassUID"] or "",
        number=max(_integer(dataset, "InstanceNumber"), 1),
        rows=rows,
        columns=columns,
        frames=max(_integer(dataset, "NumberOfFrames"), 1),
        patient_and_study={**dict.fromkeys(BLANK, ""), **_known(dataset, PATIENT_AND_STUDY)},
        of_pixels=_known(dataset, PIXELS),
        laterality=read_text(dataset, "Laterality") or read_text(dataset, "ImageLaterality") or "",
        patient_orientation=read_text(dataset, "PatientOrientation") or "",
        spacing=spacing if spacing and min(spacing) > 0 else None,
        thickness=thickness[0] if thickness and thickness[0] > 0 else None,
        plane=_plane(dataset),
    )


def read_header(path: str | os.PathLike[str]) -> Dataset | None:
    """Read all of a DICOM file but its pixels, without a word about its values.

    Returns
    -------
    pydicom.Dataset or None
        None where the file is no DICOM.

    Raises
    ------
    ImageError
        The file cannot be read.
    """
    name = os.fspath(path)
    if format_of(path, name) is not DICOM:
        return None
    from pydicom import dcmread

    with decoders_silenced():
        try:
            return dcmread(path, stop_before_pixels=True, force=True)
        except Exception as error:
            raise damaged(name, "DICOM", type(error).__name__) from None


def read_series(datasets: Sequence[Dataset]) -> list[Source]:
    """Read several images of one series.

    Raises
    ------
    DataError
        If there is none, or they are of several series.
    ImageError
        As `read_source`.
    """
    sources = [read_source(dataset) for dataset in datasets]
    if len({(source.study, source.series, source.patient_and_study["PatientID"]) for source in sources}) != 1:
        raise DataError("the source images are not of one series; give at least one image, and report series apart")
    return sources


def check_grid(source: Source, shape: tuple[int, ...]) -> None:
    """Refuse a picture that does not lie on the source's pixel grid.

    Raises
    ------
    DataError
        If its rows and columns are not those of the source.
    ImageError
        If the source has several frames.
    """
    if source.frames > 1:
        raise ImageError(
            f"the source image has {source.frames} frames, and a picture belongs to one; give single-frame images, or"
            " only the structured report"
        )
    if shape[:2] != (source.rows, source.columns):
        raise DataError(
            f"a picture of {shape[0]} x {shape[1]} pixels is not on the source's grid of"
            f" {source.rows} x {source.columns}; resize it"
        )


def read_text(dataset: Dataset, keyword: str) -> str | None:
    """Read an attribute as it stands in the file, several values parted by backslashes.

    Parameters
    ----------
    dataset : pydicom.Dataset
    keyword : str
        Of an attribute whose value is text, numbers in digits included.

    Returns
    -------
    str or None
        Empty where the attribute is missing or empty; None where it is malformed.
    """
    from pydicom import config
    from pydicom.charset import decode_bytes
    from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
    from pydicom.valuerep import validate_value

    element = dataset.get_item(keyword) if keyword in dataset else None
    value = None if element is None else element.value
    if isinstance(value, bytes):
        charsets = dataset.original_character_set or "latin-1"  # none: made in memory
        value = decode_bytes(
            value, [charsets] if isinstance(charsets, str) else list(charsets), {ord(c) for c in "\\^="}
        )
    elif isinstance(value, Sequence) and not isinstance(value, str):
        value = "\\".join(str(part) for part in value)
    text = "" if value is None else str(value).strip(" \0")
    parts, vr = text.split("\\"), dictionary_VR(tag_for_keyword(keyword) or 0)
    if dictionary_VM(keyword) == "1" and len(parts) > 1:
        return None
    form = _TERMS.get(keyword) or _FORMS.get(vr, ".*")
    if _UNREADABLE.search(text) or (text and not re.fullmatch(form, text)):
        return None
    try:
        for part in parts:
            validate_value(vr, part.strip(" "), config.RAISE)
    except (TypeError, ValueError):
        return None
    return text


def _known(dataset: Dataset, keywords: Sequence[str]) -> dict[str, str]:
    return {keyword: value for keyword in keywords if (value := read_text(dataset, keyword))}


def _plane(dataset: Dataset) -> Plane | None:
    frame = read_text(dataset, "FrameOfReferenceUID") or ""
    orientation = _numbers(dataset, "ImageOrientationPatient", 6)
    position = _numbers(dataset, "ImagePositionPatient", 3)
    if orientation is None or position is None or not _UID.fullmatch(frame):
        return None
    axes = np.reshape(orientation, (2, 3))
    return Plane(frame, orientation, position) if np.allclose(axes @ axes.T, np.eye(2), atol=1e-3) else None


def _numbers(dataset: Dataset, keyword: str, n: int) -> tuple[float, ...] | None:
    parts = (read_text(dataset, keyword) or "").split("\\")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        return None
    return numbers if len(numbers) == n and np.isfinite(numbers).all() else None


def _integer(dataset: Dataset, keyword: str) -> int:
    """Return an attribute's number, 0 where it has none."""
    numbers = _numbers(dataset, keyword, 1)
    return int(numbers[0]) if numbers else 0
