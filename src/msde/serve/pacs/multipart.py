"""The parts of a multipart/related body, one after the other as the bytes come in, within limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from python_multipart.multipart import parse_options_header

from msde.serve.errors import ServiceError, TooLarge, Unsupported
from msde.serve.intake.multipart_reader import MultipartReader

if TYPE_CHECKING:
    from msde.serve.pacs.settings import StowSettings

_DICOM = b"application/dicom"


class Parts(MultipartReader):
    """A body that is being read; memory is bounded by its largest part.

    Parameters
    ----------
    content_type : str
        The header of the request.
    limits : StowSettings

    Raises
    ------
    Unsupported
        If the body is no multipart/related of DICOM files.
    """

    def __init__(self, content_type: str, limits: StowSettings) -> None:
        media, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if media.lower() != b"multipart/related" or options.get(b"type", _DICOM).lower() != _DICOM or not boundary:
            raise Unsupported('the body must be multipart/related; type="application/dicom" with a boundary')
        super().__init__(boundary, Unsupported("the boundary of the body is too long"))
        self._limits = limits
        self._count = 0
        self._complete: list[bytes] = []

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Read on; give the parts that are whole now.

        Raises
        ------
        ServiceError
            If the body is damaged.
        TooLarge
            If one of its parts or their number is beyond the limits.
        Unsupported
            If a part is no application/dicom.
        """
        self._read(block, ServiceError("the multipart body is damaged; send it again"))
        while self._complete:
            yield self._complete.pop(0)

    def close(self) -> None:
        """Check that nothing is missing.

        Raises
        ------
        ServiceError
            If the body ended before its last boundary.
        """
        if not self._ended:
            raise ServiceError("the multipart body has no end; send it again")

    def _header(self, name: bytes, value: bytes) -> None:
        if name == b"content-type" and value.partition(b";")[0].strip().lower() != _DICOM:
            raise Unsupported("a part of the body is no application/dicom")

    def _open(self) -> None:
        self._content = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._check(len(self._content) + end - start, self._limits.instance_bytes, "bytes in an object")
        self._content += data[start:end]

    def _close(self) -> None:
        self._count += 1
        self._check(self._count, self._limits.instances, "objects in a request")
        self._complete.append(bytes(self._content))

    @staticmethod
    def _check(n: int, limit: int, what: str) -> None:
        if n > limit:
            raise TooLarge(f"over {limit:,} {what}; send less at a time")
