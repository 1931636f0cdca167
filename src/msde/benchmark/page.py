"""A benchmark's results as one HTML file: nothing is loaded from elsewhere, and no script runs in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from msde.benchmark.paper import name_of
from msde.benchmark.plots import Plot
from msde.benchmark.protocols import PROTOCOLS
from msde.benchmark.run import Results
from msde.benchmark.tables import Table
from msde.errors import MSDEError
from msde.storage.atomic import writing

_MARKS = ("within", "above", "below")


def check_plots() -> None:
    """Check before long work that the page can be drawn; raise MSDEError if matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MSDEError("the benchmark's page needs matplotlib; run `pip install 'msde[benchmark]'`") from error


def write_page(results: Results, tables: Sequence[Table], plots: Sequence[Plot], path: Path) -> None:
    """Write tables and drawings as an HTML file; raise OutputError if it cannot be written.

    A page that is there stays whole until the new one is complete.
    """
    parts: list[Plot | Table] = [*plots, *tables]
    page = Template(files("msde.benchmark").joinpath("page.html").read_text("utf-8")).substitute(
        title=escape(results.config.title),
        remark=escape(results.config.remark.strip()),
        notices=_notices(results.notices),
        contents="".join(f'<a href="#{name_of(one)}">{escape(one.title)}</a> ' for one in parts),
        plots="".join(map(_drawing, plots)),
        tables="".join(map(_table, tables)),
        origin=_origin(results),
    )
    with writing(path, keep=True) as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def _drawing(plot: Plot) -> str:
    svg = plot.svg.replace("<svg", f'<svg role="img" aria-label="{escape(plot.title)}"', 1)
    return (
        f'<section id="{name_of(plot)}"><h2>{escape(plot.title)}</h2><p>{escape(plot.about)}</p>'
        f'<div class="plot">{svg}</div></section>\n'
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in table.header)
    body = "".join(f"<tr>{''.join(_cells(row))}</tr>\n" for row in table.rows)
    return (
        f'<section id="{name_of(table)}"><h2>{escape(table.title)}</h2><p>{escape(table.about)}</p>'
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div></section>\n'
    )


def _cells(row: Iterable[str]) -> Iterator[str]:
    for place, cell in enumerate(row):
        mark = cell.rpartition(" ")[2]
        kind = f' class="{mark}"' if mark in _MARKS else ""
        yield f'<th scope="row">{_text(cell)}</th>' if place == 0 else f"<td{kind}>{_text(cell)}</td>"


def _text(cell: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(cell))


def _notices(notices: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(notice)}</li>\n" for notice in notices)
    return f'<section class="notices"><h2>Not measured or not read</h2><ul>{items}</ul></section>' if items else ""


def _origin(results: Results) -> str:
    """Return what the figures came from, and so where cells are of different origins."""
    origins = sorted(
        {
            (str(line.get("revision")), ", ".join(f"{k} {v}" for k, v in line.get("versions", {}).items()))
            for line in results.lines
        }
    )
    protocols = {one.name for one in results.config.protocols}
    facts = [
        *(f"revision {revision}; {versions}" for revision, versions in origins),
        *(f"{name}: {protocol.about}" for name, protocol in PROTOCOLS.items() if name in protocols),
    ]
    if len(origins) > 1:
        facts.insert(0, f"The cells come from {len(origins)} different revisions or sets of libraries.")
    return "".join(f"<p>{escape(fact)}</p>\n" for fact in facts)
