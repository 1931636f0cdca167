"""A worklist as one HTML file: nothing is loaded from elsewhere, and no script but its own may run in it."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from msde.embedding.embed import Tick
from msde.errors import MSDEError
from msde.images import read_pixels
from msde.images.thumbnail import Thumbnail
from msde.method.parallel import in_order
from msde.method.predictive_value import PREVALENCE
from msde.model.anomaly_model import AnomalyModel
from msde.model.nearest_labelled import NearestLabelled
from msde.model.nearest_normals import NearestNormals
from msde.report import summary
from msde.report.colour_bar import colour_bar
from msde.report.names import Names
from msde.report.row import HeldOutScores, Rows
from msde.report.worklist import Worklist
from msde.storage.atomic import writing

COMPARED_SIDE = 256


def write_report(
    worklist: Worklist,
    model: AnomalyModel,
    path: str | os.PathLike[str],
    settings: Mapping[str, str] | None = None,
    *,
    identifiers: bool = False,
    prevalence: float = PREVALENCE,
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
    identifiers : bool, default=False
        Whether to state patient ID, study date and UIDs of DICOM images.
    prevalence : float, default=0.01
        Share of abnormal images where the model is used, in (0, 1), by which the page tells what a flag tells at most.
    tick : callable, optional
        Called after each case.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with (
        writing(Path(path), keep=True) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.writelines(_page(worklist, model, settings or {}, identifiers, prevalence, tick))


def _page(
    worklist: Worklist,
    model: AnomalyModel,
    settings: Mapping[str, str],
    identifiers: bool,
    prevalence: float,
    tick: Tick | None,
) -> Iterator[str]:
    held_out = HeldOutScores.of("image", model.calibration_), HeldOutScores.of("volume", model.volumes_)
    cases, normals = worklist.cases, worklist.normals
    paths = [score.path for case in cases for score in (case.score, *case.unusable)]
    rows = Rows(model, Names.below(paths), *held_out, identifiers)
    style, script = _text("page.css"), _text("page.js")
    frame = Template(_text("page.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        title=escape(summary.title(worklist)),
        summary=_paragraphs("", summary.lines(worklist, held_out, model))
        + _paragraphs(' class="notice"', summary.notices(worklist, model))
        + _folded("What a flag is worth", _paragraphs("", summary.worth(worklist, held_out, model, prevalence))),
        symbols="".join(compared.histogram.symbol() for compared in held_out if compared),
        legend=escape(summary.legend(*held_out)),
        colours=colour_bar(model.colours) if model.explains else "",
        alike="Most like these normals, except where marked" if model.explains else "Most like these normals",
        learnt=escape(summary.learnt(model)),
        card=_facts(summary.card(model)),
        settings=_facts({**settings, **summary.settings(worklist, model, identifiers)}),
    )
    before, frame = frame.split("<!-- cases -->\n")
    between, after = frame.split("<!-- normals -->\n")
    yield before
    for row in in_order(lambda numbered: rows.draw(*numbered), enumerate(cases, 1)):
        yield row
        if tick is not None:
            tick()
    yield between
    for kind, compared in (("normal", normals), ("labelled", worklist.labelled)):
        if compared is None:
            continue
        names = Names.below(str(source) for source in compared.sources)
        pictures = (picture for case in cases for picture in case.pictures)
        shown = {n for picture in pictures for n in (picture.alike if kind == "normal" else picture.labelled)}
        yield from in_order(partial(_figure, model, compared, names, kind), sorted(shown))
    yield after


def _figure(
    model: AnomalyModel, compared: NearestNormals | NearestLabelled, names: Names, kind: str, number: int
) -> str:
    """Draw an image to compare with."""
    path = str(compared.sources[number])
    try:
        thumbnail = Thumbnail.of(read_pixels(compared.sources[number], model.rule), COMPARED_SIDE)
    except MSDEError as error:
        reason = escape(names.shorten(str(error), path))
        return f'<figure id="{kind}-{number}"><p>Can no longer be shown: {reason}</p></figure>\n'
    of_kind = compared.kind(number) if isinstance(compared, NearestLabelled) else None
    words = f"<strong>{escape(of_kind)}</strong> " if of_kind else ""
    alt = "Normal image" if kind == "normal" else "Labelled abnormal image"
    return (
        f'<figure id="{kind}-{number}"><img src="{thumbnail.uri}" width="{thumbnail.width}" height="{thumbnail.height}"'
        f' alt="{alt}"><figcaption>{words}<bdi>{escape(names.short(path))}</bdi></figcaption></figure>\n'
    )


def _text(name: str) -> str:
    return files("msde.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """Return the name of what may stand in a script or style element."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>" if content else ""


def _paragraphs(attributes: str, texts: Iterable[str]) -> str:
    return "".join(f"<p{attributes}>{escape(text)}</p>\n" for text in texts)


def _facts(facts: Mapping[str, str]) -> str:
    return (
        "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>\n" for name, fact in facts.items()) + "</dl>"
    )
