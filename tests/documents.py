"""The documents as they lie: their headings, links and blocks of code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
_BLOCK = re.compile(r"^(```+|~~~+)(.*?)\n(.*?)^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield language and text of the blocks of code."""
    for _, language, code in _BLOCK.findall(text):
        yield language.strip(), code


def without_blocks(text: str) -> str:
    return _BLOCK.sub("", text)


def anchors(path: Path) -> set[str]:
    """Return the names by which a code host leads to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(path.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"\[(.+?)\]\(.+?\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


def title(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files that a page leads to, with the heading, empty for none."""
    text = re.sub(r"`[^`\n]*`", "", without_blocks(path.read_text(encoding="utf-8")))
    for target, anchor in _LINK.findall(text):
        yield (path.parent / target).resolve() if target else path, anchor
