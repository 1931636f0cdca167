"""Who and what a DICOM image is of, for tables and reports that ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from msde.errors import ImageError
from msde.images.dicom_header import read_header, read_text
from msde.images.source import Part

_WORDS = ("Patient", "study of", "study UID", "series UID", "SOP instance UID")
_KEYWORDS = {
    "patient_id": "PatientID",
    "study_date": "StudyDate",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_instance_uid": "SOPInstanceUID",
}


@dataclass(frozen=True)
class Identifiers:
    """What names an image in a hospital's systems; None where it is not stated, malformed, or the file is no DICOM.

    Parameters
    ----------
    patient_id, study_date : str or None
        As they stand in the file.
    study_instance_uid, series_instance_uid, sop_instance_uid : str or None
        UIDs.
    """

    patient_id: str | None = None
    study_date: str | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None

    @classmethod
    def of(cls, *sources: Path | Part) -> Identifiers:
        """Read what all files of an image or a volume state alike."""
        found = [
            _read(path) for path in {source.path if isinstance(source, Part) else str(source): 0 for source in sources}
        ]
        return cls(
            **{name: values.pop() if len(values := {one[name] for one in found}) == 1 else None for name in _KEYWORDS}
        )

    def in_words(self) -> Iterator[tuple[str, str | None]]:
        """Give each with its name."""
        return zip(_WORDS, astuple(self), strict=True)


def _read(path: str) -> dict[str, str | None]:
    try:
        header = read_header(path)
    except ImageError:
        header = None
    return {name: (read_text(header, keyword) or None) if header else None for name, keyword in _KEYWORDS.items()}
