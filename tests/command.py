"""The command `msde`: as a user starts it, and in this process, which spares the start of an interpreter."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from msde.cli.main import main

MSDE = Path(sys.executable).with_name("msde")
# For fits to discs, which are no larger: the network has a twelfth of the work.
SMALL = ("--input-size", "64")
Done = subprocess.CompletedProcess[str]


def started(*arguments: object, **environment: str) -> Done:
    """Run the command in a process of its own."""
    return subprocess.run(_words(arguments), capture_output=True, text=True, env={**os.environ, **environment})


def msde(*arguments: object, **environment: str) -> Done:
    """Run the command here: all that it does but start."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    words, status = _words(arguments), 0
    with (
        patch.object(sys, "argv", words),
        patch.dict(os.environ, environment),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return Done(words, status, *said)


def _words(arguments: Sequence[object]) -> list[str]:
    return [str(MSDE), *map(str, arguments)]
