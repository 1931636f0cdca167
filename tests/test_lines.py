"""What `make test-all` says of the lines that ran."""

import ast
import runpy
import sys
from pathlib import Path

TOOL = Path(__file__).parents[1] / "tools" / "lines"
SOURCE = '''"""Text."""
from __future__ import annotations
from functools import cache

@cache
def half(number):
    """Text."""
    try:
        if number % 2:
            raise ValueError
        else:
            return number / 2
    except ValueError:
        pass
    match number:
        case 3:
            return 1
        case 5:
            return 2

half(3)
half(4)
'''


def test_a_mark_is_made_for_each_line_that_runs_and_no_other(monkeypatch):
    monkeypatch.syspath_prepend(TOOL)
    with_marks = runpy.run_path(str(TOOL / "__main__.py"), run_name="lines")["with_marks"]
    marks = bytearray(100)
    monkeypatch.setattr(sys, "lines_run", marks, raising=False)
    exec(compile(with_marks(ast.parse(SOURCE), 50), "half.py", "exec", dont_inherit=True), {})  # noqa: S102
    ran = [number - 50 for number, mark in enumerate(marks) if mark]
    assert ran == [1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 21, 22]
