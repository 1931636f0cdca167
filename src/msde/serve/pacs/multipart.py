"""The parts of a multipart/related body, one after the other as the bytes come in, within limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msde.serve.errors import ServiceError, TooLarge, Unsupported
from msde.serve.intake.preamble import Preamble

if TYPE_CHECKING:
    from msde.serve.pacs.settings import StowSettings

_DICOM = b"application/dicom"


class Parts:
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
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser, parse_options_header

        media, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if media.lower() != b"multipart/related" or options.get(b"type", _DICOM).lower() != _DICOM or not boundary:
            raise Unsupported('the body must be multipart/related; type="application/dicom" with a boundary')
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._field,
                    "on_header_value": self._value,
                    "on_header_end": self._header,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._finish,
                },
            )
        except FormParserError:
            raise Unsupported("the boundary of the body is too long") from None
        self._preamble = Preamble(boundary)
        self._limits = limits
        self._count = 0
        self._ended = False
        self._complete: list[bytes] = []
        self._begin()

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
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(self._preamble.drop(block))
        except FormParserError:
            raise ServiceError("the multipart body is damaged; send it again") from None
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

    def _begin(self) -> None:
        self._content = bytearray()
        self._name = self._text = b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._text += data[start:end]

    def _header(self) -> None:
        if self._name.lower() == b"content-type" and self._text.partition(b";")[0].strip().lower() != _DICOM:
            raise Unsupported("a part of the body is no application/dicom")
        self._name = self._text = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._check(len(self._content) + end - start, self._limits.instance_bytes, "bytes in an object")
        self._content += data[start:end]

    def _end(self) -> None:
        self._count += 1
        self._check(self._count, self._limits.instances, "objects in a request")
        self._complete.append(bytes(self._content))

    def _finish(self) -> None:
        self._ended = True

    @staticmethod
    def _check(n: int, limit: int, what: str) -> None:
        if n > limit:
            raise TooLarge(f"over {limit:,} {what}; send less at a time")
