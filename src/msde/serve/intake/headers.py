"""What the header of a DICOM image tells of whose it is: digests that tell nothing without the data folder's secret."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msde.errors import ImageError
from msde.images.decoder_warnings import decoders_silenced
from msde.images.dicom_header import read_header, read_raw, read_text
from msde.images.patients import HEADER, STUDY, Patients
from msde.serve.identifiers import Identifiers, Vault
from msde.serve.storage.sealed import Sealed

if TYPE_CHECKING:
    from pydicom import Dataset

_SERIES = "series"
_SCANNER = 60  # characters
_BODY_PART = re.compile(r"[A-Z0-9_ ]{1,16}")


OF_HEADER = ("patient", "study", "series", "body_part", "scanner")
"""Columns of `images` that come from the header."""


@dataclass(frozen=True)
class HeaderFacts:
    """What is kept of a header.

    Parameters
    ----------
    patient : str or None
        Digest of PatientID, or of the study where that is blank.
    study, series : str or None
        Digests of their UIDs.
    body_part : str
        Empty where none is stated.
    scanner : str or None
        Manufacturer and model.
    sealed : Sealed or None
        Identifiers, where these are kept.
    """

    patient: str | None = None
    study: str | None = None
    series: str | None = None
    body_part: str = ""
    scanner: str | None = None
    sealed: Sealed | None = None

    @property
    def columns(self) -> dict[str, str | None]:
        """What `images` has of it."""
        return {name: getattr(self, name) for name in OF_HEADER}


class Headers:
    """Reads headers.

    Parameters
    ----------
    secret : bytes
        Without which no digest can be made.
    vault : Vault or None
        Where identifiers are kept.
    """

    def __init__(self, secret: bytes, vault: Vault | None = None) -> None:
        self._patients = Patients(salt=hashlib.sha256(b"patients" + secret).hexdigest())
        self.vault = vault

    def facts(self, path: Path, digest: str) -> HeaderFacts:
        """Return what a file, or the folder of a series, of a digest tells; nothing where it is not read as DICOM."""
        try:
            file = min(path.iterdir(), default=path) if path.is_dir() else path
            header = read_header(file)
        except (ImageError, OSError):  # it is being deleted
            header = None
        if header is None:
            return HeaderFacts()
        with decoders_silenced():
            patient, study, series = (
                read_raw(header, name) for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
            )
            body_part = (read_text(header, "BodyPartExamined") or "").upper()
            return HeaderFacts(
                patient=self._digest(HEADER, patient) or self._digest(STUDY, study),
                study=self._digest(STUDY, study),
                series=self._digest(_SERIES, series),
                body_part=body_part if _BODY_PART.fullmatch(body_part) else "",
                scanner=_scanner(header),
                sealed=None if self.vault is None else self.vault.seal(Identifiers.of(header), digest),
            )

    def open(self, sealed: Iterable[tuple[int, str, bytes]]) -> dict[int, Identifiers]:
        """Open identifiers, given with number and digest of their images; what cannot be opened is left out."""
        if self.vault is None:
            return {}
        opened = ((number, self.vault.open(content, digest)) for number, digest, content in sealed)
        return {number: identifiers for number, identifiers in opened if identifiers is not None}

    def of_uid(self, uid: str) -> tuple[str | None, str | None]:
        """Return the digests that a study and a series of a UID have."""
        return self._digest(STUDY, uid.encode()), self._digest(_SERIES, uid.encode())

    def _digest(self, kind: str, name: bytes) -> str | None:
        return self._patients.digest(kind, name).hex() if name else None


def _scanner(header: Dataset) -> str | None:
    """Return manufacturer and model; many models name the manufacturer too, which is then said once."""
    maker, model = (
        " ".join((read_text(header, word) or "").split()) for word in ("Manufacturer", "ManufacturerModelName")
    )
    named = model if model.casefold().startswith(maker.casefold()) else f"{maker} {model}"
    return named.strip()[:_SCANNER].strip() or None
