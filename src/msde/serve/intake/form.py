"""The files of a form (multipart/form-data), each written where it is to be as its bytes come in."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from msde.serve.errors import ServiceError, TooLarge
from msde.serve.intake.preamble import Preamble

_FIELDS = 100  # parts beside the files, which are read over


class Form:
    """A form that is being read; one file is open at a time.

    Parameters
    ----------
    content_type : str
        The header of the request.
    folder : Path
        An empty folder for the files.
    limit : int
        Files that it may hold.

    Raises
    ------
    ServiceError
        If there is no boundary.
    """

    def __init__(self, content_type: str, folder: Path, limit: int) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise ServiceError("the form cannot be read: its boundary is missing")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._field,
                    "on_header_value": self._value,
                    "on_header_end": self._header,
                    "on_headers_finished": self._open,
                    "on_part_data": self._data,
                    "on_part_end": self._close,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise ServiceError("the form cannot be read: its boundary is too long") from None
        self._preamble = Preamble(boundary)
        self._folder, self._limit = folder, limit
        self._files: list[tuple[str, Path]] = []
        self._fields, self._ended = 0, False
        self._file: BinaryIO | None = None
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def feed(self, block: bytes) -> None:
        """Read on.

        Raises
        ------
        ServiceError
            If the form is damaged.
        TooLarge
            If it holds too much.
        """
        try:
            self._parser.write(self._preamble.drop(block))
        except FormParserError:
            raise ServiceError("the form cannot be read: it is damaged; send it again") from None

    def files(self) -> list[tuple[str, Path]]:
        """Return the names that the sender gave, and where the files are.

        Raises
        ------
        ServiceError
            If the form has no end or no file.
        """
        if not self._ended:
            raise ServiceError("the form cannot be read: it has no end; send it again")
        if not self._files:
            raise ServiceError("the form holds no file; send at least one")
        return self._files

    def _begin(self) -> None:
        self._disposition = self._name = self._text = b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._text += data[start:end]

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._text
        self._name = self._text = b""

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            self._fields += 1
            if self._fields > _FIELDS:
                raise TooLarge(f"over {_FIELDS} parts that are no files; send the files alone")
            return
        if len(self._files) == self._limit:
            raise TooLarge(f"over the limit of {self._limit:,} files; send fewer at once")
        path = self._folder / str(len(self._files))
        self._files.append((options[b"filename"].decode("utf-8", "replace") or "upload", path))
        self._file = path.open("wb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _end(self) -> None:
        self._ended = True
