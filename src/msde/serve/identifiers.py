"""Whom a DICOM image is of, by name: read from its header, and encrypted wherever it is kept."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from msde.errors import MSDEError
from msde.images.dicom_header import read_text
from msde.serve.settings import Settings
from msde.serve.storage.sealed import Sealed
from msde.serve.storage.secret import read_secret

if TYPE_CHECKING:
    from pydicom import Dataset

_NONCE = 12
_BLOCK = 256  # bytes; what is sealed is filled up to a multiple, so that its length tells nothing of a name
_LONGEST = 200  # characters


@dataclass(frozen=True)
class Identifiers:
    """What a header states of a patient and a study; empty where it states nothing, or nothing well formed.

    Parameters
    ----------
    name : str
        "Family, Given".
    patient_id, birth_year, sex, accession : str
    study_date : str
        As YYYY-MM-DD.
    study_description, station : str
    """

    name: str = ""
    patient_id: str = ""
    birth_year: str = ""
    sex: str = ""
    accession: str = ""
    study_date: str = ""
    study_description: str = ""
    station: str = ""

    @classmethod
    def of(cls, header: Dataset) -> Self:
        """Read a header."""

        def text(keyword: str) -> str:
            return (read_text(header, keyword) or "")[:_LONGEST].strip()

        date = text("StudyDate")
        return cls(
            name=_spoken(text("PatientName")),
            patient_id=text("PatientID"),
            birth_year=text("PatientBirthDate")[:4],
            sex=text("PatientSex"),
            accession=text("AccessionNumber"),
            study_date=f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else "",
            study_description=text("StudyDescription"),
            station=text("StationName"),
        )


def _spoken(name: str) -> str:
    """Return the first way in which a name is written that has letters, family name first."""
    family, *others = next((way for way in name.split("=") if way.strip("^ ")), "").split("^")
    return ", ".join(part for part in (family.strip(), " ".join(" ".join(others).split())) if part)


class Vault:
    """Seals identifiers by AES-GCM, with a key that is in no database.

    Parameters
    ----------
    key : bytes
        32 of them.
    """

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise MSDEError("identifiers need cryptography; run `pip install 'msde[serve]'`") from error
        self._cipher, self._invalid = AESGCM(key), InvalidTag
        self.mark = hashlib.sha256(b"identifiers" + key).hexdigest()[:16]
        """Tells which key it is, and nothing of it."""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the vault of a service, whose key is made where it is missing; None where no identifiers are kept.

        Raises
        ------
        DataError
            If the file of the key holds none.
        """
        if not settings.identifiers:
            return None
        return cls(read_secret(Path(settings.identifiers_key or settings.folder / "identifiers-key")))

    def seal(self, identifiers: Identifiers, digest: str) -> Sealed:
        """Encrypt what is known of the image of a digest, to be opened for that image alone."""
        text = json.dumps(astuple(identifiers), ensure_ascii=False).encode("utf-8", "replace")
        nonce = secrets.token_bytes(_NONCE)
        filled = text.ljust(-(-len(text) // _BLOCK) * _BLOCK)
        return Sealed(self.mark, nonce + self._cipher.encrypt(nonce, filled, digest.encode()))

    def open(self, content: bytes, digest: str) -> Identifiers | None:
        """Decrypt what is known of the image of a digest; None where it is altered or not of it."""
        text = self._text(content, digest)
        return None if text is None else Identifiers(*json.loads(text))

    def states(self, content: bytes, digest: str, words: Sequence[str]) -> bool:
        """Whether each of some words, in small letters, is part of what is known of the image of a digest."""
        text = (self._text(content, digest) or "").casefold()  # without taking it apart, since all are searched
        return all(word in text for word in words)

    def _text(self, content: bytes, digest: str) -> str | None:
        with suppress(self._invalid):
            return self._cipher.decrypt(content[:_NONCE], content[_NONCE:], digest.encode()).decode()
        return None
