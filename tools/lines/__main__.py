"""Which lines of the package run in tests: `python tools/lines prepare`, tests with this folder on their PYTHONPATH,
then `python tools/lines report`.
"""

import ast
import json
import marshal
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from coverage import Coverage, CoverageData
from lines_run import FOLDER, marked

PLACES = Path(FOLDER) / "places.json"  # where the marks of each file begin
MARKS = Path(FOLDER) / "marks"
NAME = "__lines_run__"


def prepare() -> None:
    """Compile all modules, each statement behind a mark."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    places, end = {}, 0
    for path in sorted(Path(find_spec("msde").origin).parent.rglob("*.py")):
        source = path.read_text("utf-8")
        code = compile(with_marks(ast.parse(source), end), str(path), "exec", dont_inherit=True)
        Path(marked(str(path))).write_bytes(marshal.dumps(code))
        places[str(path)] = end
        end += source.count("\n") + 2
    PLACES.write_text(json.dumps({**places, "": end}))
    MARKS.write_bytes(bytes(end))


def with_marks(module: ast.Module, begin: int) -> ast.Module:
    def marks(statement: ast.AST) -> list[ast.stmt]:
        lines = {statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", ()))}
        return [
            ast.copy_location(one, statement) for line in lines for one in ast.parse(f"{NAME}[{begin + line}] = 1").body
        ]

    for node in ast.walk(module):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                first = _must_be_first(block) if name == "body" else 0
                head = marks(node) if isinstance(node, ast.ExceptHandler) else []
                if isinstance(node, ast.match_case):
                    head = marks(node.pattern)
                if isinstance(node, ast.Module):
                    head = ast.parse(f"{NAME} = __import__('sys').lines_run").body
                rest = [one for statement in block[first:] for one in (*marks(statement), statement)]
                setattr(node, name, [*block[:first], *head, *(m for s in block[:first] for m in marks(s)), *rest])
    return ast.fix_missing_locations(module)


def _must_be_first(block: list[ast.stmt]) -> int:
    """Count docstring and imports from the future."""
    for number, one in enumerate(block):
        is_text = number == 0 and isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
        if not (is_text or (isinstance(one, ast.ImportFrom) and one.module == "__future__")):
            return number
    return len(block)


def report() -> None:
    """Print the share of each file's lines that ran."""
    run, places = MARKS.read_bytes(), json.loads(PLACES.read_text())
    files, begins = list(places)[:-1], list(places.values())
    data = CoverageData(os.path.join(FOLDER, "coverage"))
    for file, begin, end in zip(files, begins, begins[1:], strict=False):
        data.add_lines({file: [number for number, mark in enumerate(run[begin:end]) if mark]})
    data.write()
    coverage = Coverage(data.data_filename())
    coverage.load()
    coverage.report()


if __name__ == "__main__":
    {"prepare": prepare, "report": report}[sys.argv[1]]()
