"""What an arriving DICOM file is, told from its header: an image, another kind of object, or a result of our own."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache

from msde.errors import ImageError

_UID = re.compile(r"(?=.{3,64}\Z)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYWORDS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Manufacturer", "Rows"]
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))  # floats of either length, and integers


@dataclass(frozen=True)
class Instance:
    """The part of a header that decides what becomes of a file.

    Parameters
    ----------
    uid, sop_class, study : str
        UIDs.
    is_picture : bool
        Whether it is of a kind with pixels.
    has_pixels : bool
        Whether it states their size and has them.
    is_own : bool
        Whether it is a result of this program.
    """

    uid: str
    sop_class: str
    study: str
    is_picture: bool
    has_pixels: bool
    is_own: bool

    @classmethod
    def of(cls, content: bytes) -> Instance:
        """Read a file's header.

        Raises
        ------
        ImageError
            If it is no DICOM file, or lacks its UIDs; says nothing of its values.
        """
        from pydicom.filereader import read_partial
        from pydicom.tag import BaseTag, Tag

        from msde.dicom.equipment import MANUFACTURER
        from msde.images.decoder_warnings import decoders_silenced
        from msde.images.dicom_header import read_text

        lengths: list[int] = []

        def at_pixels(tag: int, _: str | None, length: int) -> bool:
            if tag in _PIXELS:
                lengths.append(length)
            return tag in _PIXELS

        wanted: list[BaseTag | int] = [Tag(keyword) for keyword in (*_KEYWORDS, "DeviceSerialNumber")]
        with decoders_silenced():
            try:
                header = read_partial(io.BytesIO(content), at_pixels, specific_tags=wanted)
                uids = [read_text(header, keyword) or "" for keyword in _KEYWORDS[:4]]
                maker, serial = (read_text(header, keyword) or "" for keyword in ("Manufacturer", "DeviceSerialNumber"))
                sized = "Rows" in header
            except Exception as error:
                raise ImageError(
                    f"the object is no readable DICOM file ({type(error).__name__}); send it again"
                ) from None
        if not all(is_uid(uid) for uid in uids):
            raise ImageError("the object lacks one of its UIDs, or it is malformed; mend the source")
        return cls(
            uid=uids[1],
            sop_class=uids[0],
            study=uids[2],
            is_picture=uids[0] in picture_classes(),
            has_pixels=sized and any(lengths),
            is_own=maker == MANUFACTURER and _SHA256.fullmatch(serial) is not None,
        )


def is_uid(text: str) -> bool:
    """Whether text is a well-formed UID."""
    return _UID.fullmatch(text) is not None


@lru_cache(maxsize=1)
def picture_classes() -> frozenset[str]:
    """Return the UIDs of the standard's storage classes for images, retired ones included."""
    from pydicom._uid_dict import UID_dictionary

    return frozenset(
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class" and "Image" in name and "Storage" in name and uid.startswith("1.2.840.10008.5.1.4.1.1.")
    )
