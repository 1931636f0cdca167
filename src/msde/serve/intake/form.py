"""The files of a form (multipart/form-data), each written where it is to be as its bytes come in."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Self

from python_multipart.multipart import parse_options_header

from msde.serve.errors import ServiceError, TooLarge
from msde.serve.intake.multipart_reader import MultipartReader

_FIELDS = 100  # parts beside the files, which are read over


class Form(MultipartReader):
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
        super().__init__(boundary, ServiceError("the form cannot be read: its boundary is too long"))
        self._disposition = b""
        self._folder, self._limit = folder, limit
        self._files: list[tuple[str, Path]] = []
        self._fields = 0
        self._file: BinaryIO | None = None

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
        self._read(block, ServiceError("the form cannot be read: it is damaged; send it again"))

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

    def _header(self, name: bytes, value: bytes) -> None:
        if name == b"content-disposition":
            self._disposition = value

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._disposition = b""
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
