"""What a DICOM image depicts by its header: the modality, and regions of the body."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from msde.errors import ImageError
from msde.images.dicom_header import read_header, read_text
from msde.images.formats import by_suffix
from msde.images.remembered import remembering, state_of
from msde.images.source import ONE_PICTURE, Part

ALIKE = {"CR": "DX", "DR": "DX"}
"""Modalities that are another's by their pictures: of radiographs, how the plate is read."""
_WORDS = {
    "HEAD": "HEAD BRAIN SKULL FACE SINUS SELLA ORBIT EYE EAR JAW MAXILLA MANDIBLE ZYGOMA TMJ IAC NOSE",
    "TEETH": "TEETH TOOTH DENTAL",
    "NECK": "NECK THYROID LARYNX PHARYNX CAROTID CSPINE CERVICAL",
    "CHEST": "CHEST THORAX LUNG RIB RIBS STERNUM BRONCHUS MEDIASTINUM HEART CARDIAC CORONARY TSPINE THORACIC",
    "BREAST": "BREAST MAMMA",
    "ABDOMEN": "ABDOMEN LIVER KIDNEY PANCREAS SPLEEN STOMACH COLON BOWEL GALLBLADDER ADRENAL LSPINE LUMBAR",
    "PELVIS": "PELVIS HIP BLADDER PROSTATE UTERUS RECTUM SACRUM SSPINE COCCYX",
    "SPINE": "SPINE CSPINE TSPINE LSPINE SSPINE CERVICAL THORACIC LUMBAR",
    "ARM": "ARM SHOULDER CLAVICLE SCAPULA HUMERUS ELBOW FOREARM RADIUS ULNA WRIST",
    "HAND": "HAND FINGER THUMB WRIST",
    "LEG": "LEG THIGH FEMUR KNEE PATELLA CALF TIBIA FIBULA ANKLE",
    "FOOT": "FOOT TOE HEEL CALCANEUS ANKLE",
    "SKIN": "SKIN",
    "WHOLE BODY": "WHOLEBODY",
}
_UNTOLD = ("", "OT")  # the latter is DICOM's word for any other
REGIONS = tuple(_WORDS)
_REGIONS_OF: dict[str, frozenset[str]] = {
    word: frozenset(region for region, words in _WORDS.items() if word in words.split())
    for words in _WORDS.values()
    for word in words.split()
}


@dataclass(frozen=True)
class Depicted:
    """What an image depicts.

    Parameters
    ----------
    modality : str
        Of DICOM, such as DX.
    regions : frozenset of str
        Of `REGIONS`; empty where none is stated, or none in words that are known.
    """

    modality: str
    regions: frozenset[str]

    @property
    def in_words(self) -> str:
        """Such as "CT of CHEST and ABDOMEN"."""
        return f"{self.modality} of {' and '.join(sorted(self.regions))}" if self.regions else self.modality


def depicted(source: Any) -> Depicted | None:
    """Read what an image depicts; None where it is no DICOM file, or states no modality that tells.

    Parameters
    ----------
    source : path, Part or anything else
    """
    if not isinstance(source, str | os.PathLike):
        return None
    path = source.path if isinstance(source, Part) else os.fspath(source)
    form = by_suffix(path)
    if form is not None and form.name in ONE_PICTURE:
        return None
    try:
        return _read(path, *state_of(path))
    except OSError:
        return None


def regions_in(text: str) -> frozenset[str]:
    """Return the regions that BodyPartExamined names, such as CHEST of "THORAX AP"; none where it is not known.

    Examples
    --------
    >>> sorted(regions_in("Chest/Abdomen")), sorted(regions_in("CSPINE")), sorted(regions_in("VARIOUS"))
    (['ABDOMEN', 'CHEST'], ['NECK', 'SPINE'], [])
    """
    words = re.findall("[A-Z]+", text.upper())
    found = frozenset[str]().union(*(_REGIONS_OF.get(word, frozenset()) for word in words))
    together = "".join(words)  # WHOLE BODY, and CHESTABDPELVIS of one word
    within = {region for region in ("CHEST", "ABDOMEN", "PELVIS", "HEAD", "NECK") if region[:5] in together}
    return found | _REGIONS_OF.get(together, frozenset()) | (frozenset(within) if not found else frozenset())


@remembering(64)
def _read(path: str, *_: int) -> Depicted | None:
    """Read a header; one file may hold many frames."""
    try:
        header = read_header(path)
    except ImageError:
        return None
    modality = (read_text(header, "Modality") or "").upper() if header else ""
    if header is None or modality in _UNTOLD:
        return None
    return Depicted(modality, regions_in(read_text(header, "BodyPartExamined") or ""))
