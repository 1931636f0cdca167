"""A table as LaTeX, in the style of booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msde.benchmark.tables import Table

PREAMBLE = (
    r"\documentclass{article}",
    r"\usepackage[T1]{fontenc}",
    r"\usepackage[margin=2cm]{geometry}",
    r"\usepackage{booktabs,graphicx}",
    r"\setlength{\belowcaptionskip}{6pt}",
)
_WIDE = 6
_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "–": "--",
    "\u2212": "$-$",
}
_TRANSLATED = str.maketrans(_SIGNS)


def latex(table: Table, label: str) -> Iterator[str]:
    """Yield a table as LaTeX, a line each; it needs the packages booktabs and graphicx.

    A table with more columns than a page bears has its rows for columns where that makes it narrower. An interval
    stands small behind its figure.
    """
    header, rows = table.header, table.rows
    if len(header) > _WIDE and len(rows) < len(header) - 1 and len({row[0] for row in rows}) == len(rows):
        first, *others = zip(header, *rows, strict=True)
        header, rows = first, others
    yield from (r"\begin{table}[htbp]", r"\centering", f"\\caption{{{escaped(table.title)}. {escaped(table.about)}}}")
    yield from (f"\\label{{tab:{label}}}", r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%")
    yield f"\\begin{{tabular}}{{{''.join(_columns(header, rows))}}}"
    yield from (r"\toprule", _row(header), r"\midrule")
    for before, row in pairwise([("",), *rows]):
        if _is_mean(row) and not _is_mean(before):
            yield r"\midrule"
        yield _row(row)
    yield from (r"\bottomrule", r"\end{tabular}}", r"\end{table}", "")


def escaped(text: str) -> str:
    """Return text as LaTeX sets it; what is between two pairs of asterisks is bold."""
    text = text.translate(_TRANSLATED)
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)


def _is_mean(row: Sequence[str]) -> bool:
    return row[0].startswith(("**mean", "mean "))


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(text: str) -> str:
    found = re.fullmatch(r"([+-]?\d[\d.]*) \((\S+) to (\S+)\)( \*)?", text)
    if found is None:
        return escaped(text)
    value, low, high, star = found.groups()
    low, high = (end.replace("-", "$-$").replace("+", "$+$") for end in (low, high))
    return f"{_signed(value)}{'*' if star else ''} {{\\footnotesize ({low} to {high})}}"


def _signed(value: str) -> str:
    return f"${value}$" if value[0] in "+-" else value


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield how each column stands: text on the left, figures on the right."""
    for place in range(len(header)):
        cells = [row[place] for row in rows]
        yield "r" if place and all(re.match(r"[+-]?\d|–|not run", cell) for cell in cells) else "l"
