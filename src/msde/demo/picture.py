"""A picture of how a model fares: cases beside their heat maps and nearest normals, the scores of all, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import DataError
from msde.images import Part, read_pixels
from msde.model.anomaly_model import AnomalyModel
from msde.model.explanation import Explanation
from msde.model.score import ImageScore

ROWS = 4
DPI = 100
LINE = 76
"""Letters of a line beside the histogram."""
# Blue and vermilion of Okabe and Ito: told apart by the colour-blind, and in print by the words beside them.
_COLOURS = {False: "#0072B2", True: "#D55E00"}
_WORDS = {False: "normal", True: "abnormal"}
_COLUMNS = ("the image", "where it differs", "the nearest normal")


@dataclass(frozen=True, eq=False)
class DemoCase:
    """One scored image or volume of known truth.

    Parameters
    ----------
    score : ImageScore
        Of the image or volume.
    shown : ImageScore
        Of what is shown of it: the image, or the volume's highest slice.
    truth : bool
        Whether it is abnormal.
    heat : ndarray of shape (56 * 56,), float32, optional
        Of what is shown.
    alike : path or Part, optional
        The normal nearest to it.
    """

    score: ImageScore
    shown: ImageScore
    truth: bool
    heat: NDArray[np.float32] | None = None
    alike: Path | Part | None = None


def draw_cases(
    cases: Sequence[DemoCase], model: AnomalyModel, path: Path, title: str, figures: Sequence[str] = ()
) -> None:
    """Draw the cases with the highest and the lowest scores, and the scores of normals against abnormals, as a PNG.

    Parameters
    ----------
    cases : sequence of DemoCase
        All scored cases; those without a finite score are left out.
    model : AnomalyModel
        That scored them: how images are read, and where the colours of heat begin.
    path : Path
        The PNG to write.
    title : str
        What the pictures are.
    figures : sequence of str
        What to say beside the scores, a paragraph each.

    Raises
    ------
    DataError
        Matplotlib is missing, no case has a score, or the file cannot be written.
    ImageError
        A case's image, or the normal beside it, cannot be read.
    """
    scored = [case for case in cases if isfinite(case.score.anomaly_score)]
    scored.sort(key=lambda case: (-case.score.anomaly_score, case.score.path))
    if not scored:
        raise DataError(f"{path}: there is no scored case to draw; score some images first")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise DataError("the demo's picture needs matplotlib; pip install 'msde[demo]'") from None

    figure: Any = Figure(figsize=(13.0, 12.0), layout=ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04))
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14, fontweight="bold")
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 0.28))
    highest, lowest = above.subfigures(1, 2, wspace=0.04)
    top = scored[:ROWS]
    _draw_block(highest, top, "Highest anomaly scores", model)
    _draw_block(lowest, scored[len(top) :][-ROWS:][::-1], "Lowest anomaly scores", model)
    histogram, words = below.subplots(1, 2)
    _draw_histogram(histogram, scored)
    words.set_axis_off()
    text = "\n".join(fill(paragraph, LINE, subsequent_indent="   ") for paragraph in figures)
    words.text(0, 1, text, va="top", fontsize=10, linespacing=1.4, transform=words.transAxes)
    try:
        figure.savefig(path, dpi=DPI, format="png", metadata={"Software": None})
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def _draw_block(figure: Any, cases: Sequence[DemoCase], heading: str, model: AnomalyModel) -> None:
    figure.suptitle(heading, fontsize=12)
    rows = figure.subplots(ROWS, len(_COLUMNS), squeeze=False)
    for i, row in enumerate(rows):
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.set_axis_off()
        if i < len(cases):
            _draw_case(row, cases[i], model)
    for axes, column in zip(rows[min(len(cases), ROWS) - 1], _COLUMNS, strict=True):
        axes.text(0.5, -0.03, column, ha="center", va="top", fontsize=9, transform=axes.transAxes)


def _draw_case(row: Any, case: DemoCase, model: AnomalyModel) -> None:
    pixels = read_pixels(case.shown.sources[0], model.rule)
    alike = None if case.alike is None else read_pixels(case.alike, model.rule)
    for axes, picture in zip(row, (pixels, _overlay(case, pixels, model), alike), strict=True):
        if picture is None:
            axes.text(0.5, 0.5, "none", ha="center", va="center", fontsize=9, transform=axes.transAxes)
        else:
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    row[0].set_axis_on()
    row[0].spines[:].set(color=_COLOURS[case.truth], linewidth=2.5)
    p_value = "" if isnan(case.score.p_value) else f", p {case.score.p_value:#.2g}"
    flagged = ", flagged" if case.score.flagged else ""
    row[0].set_title(
        f"{_WORDS[case.truth]}: score {case.score.anomaly_score:#.3g}{p_value}{flagged}",
        loc="left",
        fontsize=9,
        color=_COLOURS[case.truth],
    )


def _overlay(case: DemoCase, pixels: NDArray[np.float32], model: AnomalyModel) -> NDArray[np.uint8] | None:
    if case.heat is None:
        return None
    return Explanation.of(case.shown, case.heat, pixels, model.rule, model.colours).overlay


def _draw_histogram(axes: Any, cases: Sequence[DemoCase]) -> None:
    edges = np.histogram_bin_edges([case.score.anomaly_score for case in cases], bins=20)
    for truth, word in _WORDS.items():
        scores = [case.score.anomaly_score for case in cases if case.truth is truth]
        colour = _COLOURS[truth]
        axes.hist(
            scores,
            edges,
            histtype="stepfilled",
            facecolor=(colour, 0.3),
            edgecolor=colour,
            linewidth=1.8,
            hatch="//" if truth else None,
            label=f"{word} ({len(scores)})",
        )
    axes.set_xlabel("anomaly score")
    axes.set_ylabel("images")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, title="truth", loc="upper right")
