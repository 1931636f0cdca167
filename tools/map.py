"""The map of the package in CONTRIBUTING.md: its floors from the import contract, a line each from the docstrings.

Run: python tools/map.py [--write]     (prints the map, or puts it into CONTRIBUTING.md)
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "msde"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BLOCK = re.compile(r"```\nsrc/msde/\n.*?```\n", re.DOTALL)


def floors() -> list[list[str]]:
    """Return the names of packages and modules, the highest floor first, as the import contract lists them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (one["layers"] for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    return [re.split(r"\s*[|:]\s*", layer) for layer in layers]


def described(name: str) -> str:
    """Return a line of the map: the package's or module's file name and the first line of its docstring."""
    folder = SOURCE / name
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    shown = f"{name}/" if folder.is_dir() else file.name
    return f"  {shown:12}  {docstring.partition(chr(10))[0].rstrip('.')}"


def package_map() -> str:
    """Return the map as a block of Markdown."""
    lines = [described(name) for floor in floors() for name in floor]
    return "\n".join(["```", "src/msde/", *lines, "```", ""])


def main() -> None:
    if "--write" in sys.argv[1:]:
        text = CONTRIBUTING.read_text(encoding="utf-8")
        CONTRIBUTING.write_text(BLOCK.sub(lambda _: package_map(), text), encoding="utf-8")
    else:
        print(package_map(), end="")


if __name__ == "__main__":
    main()
