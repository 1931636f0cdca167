"""Finished cells as JSON lines, each on the disk before the next; an interrupted run damages none but its last."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msde.errors import DataError, OutputError

Line = dict[str, Any]


def read_journal(path: Path) -> list[Line]:
    """Read the lines of a file; none where it is not there. A last line without an end is left out.

    Raises DataError if the file cannot be read, or a line is no cell.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    lines = []
    for number, text in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
        try:
            line = json.loads(text)
            line["key"]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: line {number} is no cell of a benchmark; give another folder") from error
        lines.append(line)
    return lines


def current(lines: Iterable[Line], keys: Iterable[str]) -> list[Line]:
    """Keep the last line of each key, in the order of the keys."""
    by_key = {line["key"]: line for line in lines}
    return [by_key[key] for key in keys if key in by_key]


class Journal:
    """Appends lines; to be used in a ``with`` block.

    Raises OutputError if the file cannot be written, at the start or later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        """Open the file, and cut off what an interrupted run has left of a line."""
        try:
            self._file = self.path.open("ab")
            whole = self.path.read_bytes().rfind(b"\n") + 1
            self._file.truncate(whole)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}; give another folder") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def append(self, line: Line) -> None:
        """Write a line and wait until it is on the disk."""
        try:
            text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
            self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")  # a name on an old disk may be no UTF-8
            self._file.flush()
            with suppress(OSError):  # some file systems cannot
                os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}; make room and run again") from error
