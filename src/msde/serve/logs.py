"""The log: one JSON object a line, with neither names of files or people nor what an error quotes."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from typing import Any

_LOGGER = logging.getLogger("msde.serve")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if record.name.startswith(("msde", "uvicorn")) else record.name,
        }
        fields: dict[str, Any] = getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            fields = {**fields, **_told(record.exc_info[1])}
        return json.dumps({**line, **fields})


def set_up_logs() -> None:
    """Send all log lines to the standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
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
