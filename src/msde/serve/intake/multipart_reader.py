"""A multipart body (RFC 2046) that is read as its bytes come in; a subclass takes the parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from msde.serve.errors import ServiceError
from msde.serve.intake.preamble import Preamble

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


class MultipartReader:
    """Hands headers and data of each part to the methods of a subclass.

    Parameters
    ----------
    boundary : bytes
        As the header of the request has it.
    too_long : ServiceError
        Raised if it is too long.
    """

    def __init__(self, boundary: bytes, too_long: ServiceError) -> None:
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_part_end": self._close,
            "on_end": self._finish,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError:
            raise too_long from None
        self._preamble = Preamble(boundary)
        self._ended = False
        self._begin()

    def _read(self, block: bytes, damaged: ServiceError) -> None:
        """Read on; raise the error if the body is damaged."""
        try:
            self._parser.write(self._preamble.drop(block))
        except FormParserError:
            raise damaged from None

    # What a subclass does with a part.

    def _header(self, name: bytes, value: bytes) -> None:
        """Take a header; its name is in small letters."""

    def _open(self) -> None:
        """Begin a part, whose headers are known."""

    def _data(self, data: bytes, start: int, end: int) -> None:
        """Take bytes of it."""

    def _close(self) -> None:
        """End it."""

    # What the parser calls beside these.

    def _begin(self) -> None:
        self._name = self._text = b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._text += data[start:end]

    def _end_header(self) -> None:
        self._header(self._name.lower(), self._text)
        self._name = self._text = b""

    def _finish(self) -> None:
        self._ended = True
