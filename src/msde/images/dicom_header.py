"""Attributes of DICOM headers, read without a word about their values.

pydicom and highdicom quote values in warnings, log lines and errors, so text is read here from its bytes, and neither
library sees a name or an identifier of the patient before it is known to be well formed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msde.images.decoder_warnings import decoders_silenced
from msde.images.files import damaged, format_of
from msde.images.formats import DICOM

if TYPE_CHECKING:
    from pydicom import Dataset

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
        Empty where the attribute is missing or empty; None where it is malformed, which without a declared character
        set is all that is not ASCII.
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
    if not text.isascii() and _is_undeclared(dataset, element):
        return None
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


def read_raw(dataset: Dataset, keyword: str) -> bytes:
    """Read the bytes of an attribute without padding, to be compared and never shown; empty where it has none."""
    element = dataset.get_item(keyword) if keyword in dataset else None
    value = b"" if element is None or element.value is None else element.value
    return (value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")).strip(b" \0")


def _is_undeclared(dataset: Dataset, element: Any) -> bool:
    """Whether a text's file declares no character set, or an unknown one; text set in memory is as it was meant."""
    from pydicom.charset import default_encoding, python_encoding

    if dataset.original_character_set not in (default_encoding, [default_encoding]):
        return False
    declared = dataset.get("SpecificCharacterSet") or ""
    now = [declared] if isinstance(declared, str) else list(declared)
    known = any(python_encoding.get(name, default_encoding) != default_encoding for name in now)
    return isinstance(element.value, bytes) or not known
