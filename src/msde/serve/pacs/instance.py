"""What an arriving DICOM file is, told from its header: an image, another kind of object, or a result of our own."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from msde.errors import ImageError

_UID = re.compile(r"(?=.{3,64}\Z)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_KEYWORDS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
_OF_RESULTS = ["Manufacturer", "DeviceSerialNumber", "SourceImageSequence"]
_OF_PIXELS = ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames"]
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))  # floats of either length, and integers


@dataclass(frozen=True)
class Instance:
    """The part of a file that decides what becomes of it.

    Parameters
    ----------
    uid, sop_class, study : str
        UIDs.
    is_picture : bool
        Whether it is of a kind with pixels.
    pixels : str or None
        SHA-256 of the pixels as they are stored, and of their layout; None where it has none, or not all.
    is_result : bool
        Whether it says so itself that it is a result of this program; of a picture, not by the maker's name alone.
    """

    uid: str
    sop_class: str
    study: str
    is_picture: bool
    pixels: str | None
    is_result: bool

    @classmethod
    def of(cls, content: bytes) -> Instance:
        """Read a file's header, and digest its pixels.

        Raises
        ------
        ImageError
            If it is no DICOM file, or lacks its UIDs; says nothing of its values.
        """
        from pydicom.filereader import read_partial
        from pydicom.tag import BaseTag, Tag

        from msde.dicom.equipment import MANUFACTURER, is_result
        from msde.images.decoder_warnings import decoders_silenced
        from msde.images.dicom import check_inflation
        from msde.images.dicom_frame import stored_digest
        from msde.images.dicom_header import read_text
        from msde.images.files import FaultError

        lengths: list[int] = []

        def at_pixels(tag: int, _: str | None, length: int) -> bool:
            if tag in _PIXELS:
                lengths.append(length)
            return tag in _PIXELS

        wanted: list[BaseTag | int] = [Tag(keyword) for keyword in (*_KEYWORDS, *_OF_RESULTS, *_OF_PIXELS)]
        pixels = None
        with decoders_silenced():
            try:
                file = io.BytesIO(content)
                check_inflation(file, "the object")
                file.seek(0)
                header = read_partial(file, at_pixels, specific_tags=wanted)
                at = file.tell()
                uids = [read_text(header, keyword) or "" for keyword in _KEYWORDS]
                picture = uids[0] in picture_classes()
                of_ours = is_result(header) if picture else read_text(header, "Manufacturer") == MANUFACTURER
                if "Rows" in header and any(lengths):
                    with suppress(FaultError):  # it ends early
                        pixels = stored_digest(file, header, at)
            except Exception as error:
                raise ImageError(
                    f"the object is no readable DICOM file ({type(error).__name__}); send it again"
                ) from None
        if not all(is_uid(uid) for uid in uids):
            raise ImageError("the object lacks one of its UIDs, or it is malformed; mend the source")
        return cls(uids[1], uids[0], uids[2], picture, pixels, of_ours)


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
