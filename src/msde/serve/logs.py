"""The log: one JSON object a line, with neither names of files or people nor what an error quotes."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from traceback import extract_tb
from typing import Any

_LOGGER = logging.getLogger("msde.serve")
PAUSE = 1.0
"""Seconds from a line to the next of the same cause."""
_CAUSES = 1000  # that are remembered


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": _event(record), **_fields(record)}
        if left_out := getattr(record, "left_out", 0):
            line["left_out"] = left_out
        return json.dumps(line)


class Throttle(logging.Filter):
    """Lets one line of a cause pass in `PAUSE` seconds; the next says how many there were in between.

    Lines that differ in nothing but time and durations are of one cause, so that a flood of requests, or of what a
    full disk leads to, does not fill the disk with its log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = RLock()  # a signal may come within
        self._causes: dict[str, tuple[float, int]] = {}  # when the last line came, and how many were left out since

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written."""
        kept = {name: value for name, value in _fields(record).items() if not isinstance(value, float)}
        cause = json.dumps([record.levelname, _event(record), kept], default=str)
        with self._lock:
            last, left_out = self._causes.pop(cause, (-PAUSE, 0))
            passes = not last <= record.created < last + PAUSE
            self._causes[cause] = (record.created, 0) if passes else (last, left_out + 1)
            while len(self._causes) > _CAUSES:
                del self._causes[next(iter(self._causes))]
        if passes and left_out:
            record.left_out = left_out  # beside its fields, which other handlers are given too
        return passes


def _event(record: logging.LogRecord) -> str:
    """Return what happened; of other libraries, whose words may quote names, only which it is."""
    return record.getMessage() if record.name.startswith(("msde", "uvicorn")) else record.name


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    if record.exc_info and record.exc_info[1] is not None:
        fields = {**fields, **_told(record.exc_info[1])}
    return fields


def set_up_logs() -> None:
    """Send all log lines to the standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    handler.addFilter(Throttle())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "msde.images"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.WARNING)


def log(level: str, event: str, **fields: Any) -> None:
    """Write a line; `fields` must hold no identifier."""
    _LOGGER.log(logging.getLevelNamesMapping()[level.upper()], event, extra={"fields": fields})


def log_failure(event: str, error: BaseException) -> None:
    """Write a line about an error: its kind and where it came up, not its words, which may quote names."""
    log("error", event, **_told(error))


def _told(error: BaseException) -> dict[str, Any]:
    steps = extract_tb(error.__traceback__)[-6:]
    places = [f"{Path(step.filename).name}:{step.lineno} {step.name}" for step in steps]
    return {"error": type(error).__name__, "places": places}
