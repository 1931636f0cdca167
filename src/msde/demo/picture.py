"""A picture of how a model fares: the most and the least abnormal cases, and the scores of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from msde.errors import DataError
from msde.images import read_pixels

COLUMNS = 6
DPI = 110
# Blue and vermilion of Okabe and Ito: told apart by the colour-blind, and in print by the words beside them.
_COLOURS = {False: "#0072B2", True: "#D55E00"}
_WORDS = {False: "normal", True: "abnormal"}


@dataclass(frozen=True)
class DemoCase:
    """One scored image of known truth."""

    path: Path
    score: float  # high for abnormal
    p_value: float  # share of held-out normals with a score as high, in (0, 1]
    truth: bool  # whether the image is abnormal


def draw_cases(rows: Sequence[DemoCase], path: Path, title: str = "Simulated lesions; research use only") -> None:
    """Draw the cases with the highest and the lowest scores, and the scores of normals against abnormals, as a PNG.

    Parameters
    ----------
    rows : sequence of DemoCase
        All scored images; those without a finite score are left out.
    path : Path
        The PNG to write.
    title : str
        What the pictures are; the default is true of the demo's own data only.

    Raises
    ------
    DataError
        Matplotlib is missing, no case has a score, or the file cannot be written.
    ImageError
        A case's image cannot be read.
    """
    cases = sorted((row for row in rows if isfinite(row.score)), key=lambda row: (-row.score, str(row.path)))
    if not cases:
        raise DataError(f"{path}: there is no scored case to draw; score some images first")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise DataError("the demo's picture needs matplotlib; pip install 'msde[demo]'") from None

    figure: Any = Figure(figsize=(12.4, 8.0), layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.03))
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14, fontweight="bold")
    highest, lowest, below = figure.subfigures(3, 1, height_ratios=(1.0, 1.0, 0.82))
    top = cases[:COLUMNS]
    _draw_row(highest, top, "Highest anomaly scores")
    _draw_row(lowest, cases[len(top) :][-COLUMNS:][::-1], "Lowest anomaly scores")
    _draw_histogram(below.subplots(), cases)
    try:
        figure.savefig(path, dpi=DPI, format="png", metadata={"Software": None})
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def _draw_row(figure: Any, cases: Sequence[DemoCase], heading: str) -> None:
    figure.suptitle(heading, fontsize=11, x=0.01, ha="left")
    for i, axes in enumerate(figure.subplots(1, COLUMNS)):
        axes.set(xticks=[], yticks=[])
        if i >= len(cases):
            axes.set_axis_off()
            continue
        case = cases[i]
        axes.imshow(read_pixels(case.path), cmap="gray", vmin=0, vmax=1)
        axes.set_xlabel(f"score {case.score:#.3g}, p {case.p_value:#.2g}\ntruth: {_WORDS[case.truth]}", fontsize=9)
        axes.xaxis.label.set_color(_COLOURS[case.truth])
        axes.spines[:].set(color=_COLOURS[case.truth], linewidth=2.5)


def _draw_histogram(axes: Any, cases: Sequence[DemoCase]) -> None:
    edges = np.histogram_bin_edges([case.score for case in cases], bins=20)
    for truth, word in _WORDS.items():
        scores = [case.score for case in cases if case.truth is truth]
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
    axes.legend(frameon=False, title="truth")
