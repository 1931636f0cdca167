"""A worklist as one HTML file: nothing is loaded from elsewhere, and no script but its own may run in it."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TypeVar

from msde.errors import MSDEError
from msde.images import read_pixels
from msde.parallel import available_cores
from msde.pipeline import AnomalyModel, Tick
from msde.report import summary
from msde.report.explainer import explainer
from msde.report.names import Names
from msde.report.normals import Normals
from msde.report.row import Rows, Scale
from msde.report.thumbnail import Thumbnail
from msde.report.worklist import Worklist
from msde.results import replacing

NORMAL_SIDE = 256
_QUEUED_PER_WORKER = 2
T = TypeVar("T")


def write_report(
    worklist: Worklist,
    model: AnomalyModel,
    path: str | os.PathLike[str],
    settings: Mapping[str, str] | None = None,
    *,
    tick: Tick | None = None,
) -> None:
    """Write a worklist as an HTML file.

    The pictures are read again and written one after the other, so memory does not grow with them. A report that is at
    the path stays whole until the new one is complete.

    Parameters
    ----------
    worklist : Worklist
    model : AnomalyModel
        That scored it. Where it can tell where an image differs, the page has overlays.
    path : path-like
        Where to.
    settings : mapping of str to str, optional
        What else the page is to say of how it was made.
    tick : callable, optional
        Called after each case.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with (
        replacing(Path(path)) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.writelines(_page(worklist, model, settings or {}, tick))


def _page(worklist: Worklist, model: AnomalyModel, settings: Mapping[str, str], tick: Tick | None) -> Iterator[str]:
    scales = Scale.of("image", model.calibration_), Scale.of("volume", model.volumes_)
    cases, normals = worklist.cases, worklist.normals
    paths = [result.path for case in cases for result in (case.result, *case.unusable)]
    rows = Rows(model, Names.below(paths), *scales)
    style, script = _text("page.css"), _text("page.js")
    frame = Template(_text("page.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        title=escape(summary.title(worklist)),
        summary=_paragraphs("", summary.lines(worklist, scales))
        + _paragraphs(' class="notice"', summary.notices(worklist, model)),
        symbols="".join(scale.histogram.symbol() for scale in scales if scale),
        legend=escape(summary.legend(*scales)),
        alike="Most like these normals, except where marked" if explainer(model) else "Most like these normals",
        card=_facts(summary.card(model)),
        settings=_facts({**settings, **summary.settings(worklist, model)}),
    )
    before, frame = frame.split("<!-- cases -->\n")
    between, after = frame.split("<!-- normals -->\n")
    yield before
    for row in _in_order(lambda numbered: rows.draw(*numbered), enumerate(cases, 1)):
        yield row
        if tick is not None:
            tick()
    yield between
    if normals is not None:
        names = Names.below(str(source) for source in normals.sources)
        shown = sorted({number for case in cases for picture in case.pictures for number in picture.alike})
        yield from _in_order(lambda number: _normal(model, normals, names, number), shown)
    yield after


def _normal(model: AnomalyModel, normals: Normals, names: Names, number: int) -> str:
    path = str(normals.sources[number])
    try:
        thumbnail = Thumbnail.of(read_pixels(normals.sources[number], model.rule), NORMAL_SIDE)
    except MSDEError as error:
        reason = escape(names.shortened(str(error), path))
        return f'<figure id="normal-{number}"><p>Can no longer be shown: {reason}</p></figure>\n'
    name = escape(names.short(path))
    return (
        f'<figure id="normal-{number}"><img src="{thumbnail.uri}" width="{thumbnail.width}" height="{thumbnail.height}"'
        f' alt="Normal image"><figcaption><bdi>{name}</bdi></figcaption></figure>\n'
    )


def _in_order(draw: Callable[[T], str], items: Iterable[T]) -> Iterator[str]:
    """Draw on all processors, a bounded number ahead of what is taken."""
    workers = available_cores()
    pending: deque[Future[str]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="msde-report") as pool:
        try:
            for item in items:
                pending.append(pool.submit(draw, item))
                if len(pending) >= workers * _QUEUED_PER_WORKER:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _text(name: str) -> str:
    return files("msde.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """Name what may stand in a script or style element."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _paragraphs(attributes: str, texts: Iterable[str]) -> str:
    return "".join(f"<p{attributes}>{escape(text)}</p>\n" for text in texts)


def _facts(facts: Mapping[str, str]) -> str:
    return (
        "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>\n" for name, fact in facts.items()) + "</dl>"
    )
