"""Marks in one file in memory which lines of the package run, in whatever process has this folder on its PYTHONPATH.

A tracer would nearly double the time of the tests before Python 3.12; a mark takes as long as an assignment, and is
there even if its process is killed. `__main__.py` makes the marked code, and tells at the end what ran. The line of an
`except` counts as run where it catches.
"""

import marshal
import mmap
import os
import sys
from importlib.machinery import SourceFileLoader

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "lines")


def marked(source: str) -> str:
    """Where the marked code of a source file is kept."""
    return os.path.join(FOLDER, os.path.abspath(source).replace(os.sep, "+"))


def mark() -> None:
    """Have this process run the marked code, where it was made."""
    if not os.path.exists(os.path.join(FOLDER, "marks")):
        return
    ordinary = SourceFileLoader.get_code

    def get_code(loader, name):
        try:
            with open(marked(loader.path), "rb") as file:
                return marshal.load(file)  # noqa: S302 - made a moment ago
        except OSError:
            return ordinary(loader, name)

    with open(os.path.join(FOLDER, "marks"), "r+b") as file:
        sys.lines_run = mmap.mmap(file.fileno(), 0)
    SourceFileLoader.get_code = get_code
