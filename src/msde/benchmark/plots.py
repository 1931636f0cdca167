"""What was found, as drawings: SVG and PDF by matplotlib, for the page and for papers."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from msde.benchmark.figures import Figures
from msde.benchmark.run import Results
from msde.benchmark.statistics import GRID, Band, critical_difference, precision_band, ranks, roc_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which those who are colour-blind tell apart, and line styles beside them.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00", "#7f7f7f")
Drawn = tuple[str, bytes]
"""SVG and PDF."""
STYLES = ("-", "--", "-.", ":")
SHOWN = 4
BINS = 30
_SETTINGS = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # as fonts that journals take
    "svg.hashsalt": "msde",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Plot:
    """A drawing with its title and what is to be said of it."""

    title: str
    about: str
    drawn: Drawn

    @property
    def svg(self) -> str:
        """The drawing as an SVG element."""
        return self.drawn[0]

    @property
    def pdf(self) -> bytes:
        """The same as a PDF file."""
        return self.drawn[1]


def all_plots(results: Results) -> list[Plot]:
    """Draw everything for which there are figures."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        return list(_plots(results))


def _plots(results: Results) -> Iterator[Plot]:
    found = Figures(results.config, results.lines)
    for backbone in found.backbones:
        on = f", {backbone}" if len(found.backbones) > 1 else ""
        whole = next((name for name in ("single", "published") if found.detectors(backbone, name)), None)
        if whole:
            shown = found.detectors(backbone, whole)[:SHOWN]
            note = f"Protocol {whole}, seed 0, with pointwise 95 % bands over patients. Shown are {', '.join(shown)}."
            yield Plot(f"ROC curves{on}", note, _curves(found, backbone, whole, shown, precision=False))
            yield Plot(f"Precision and recall{on}", note, _curves(found, backbone, whole, shown, precision=True))
            yield Plot(f"Scores of {shown[0]}{on}", f"Protocol {whole}.", _histograms(found, backbone, whole, shown[0]))
        if found.detectors(backbone, "prevalence"):
            about = "Mean over draws; the bands are ± one standard deviation over draws."
            yield Plot(f"AUROC against the share of abnormal images{on}", about, _prevalence(found, backbone))
        for protocol in ("single", "published"):
            names, figures = found.matrix(backbone, protocol)
            if len(figures) >= 2 and len(names) >= 3:
                about = (
                    f"Mean ranks over {len(figures)} sets, the best on the right. A bar joins detectors that do not"
                    " differ by Nemenyi's test at 0.05."
                )
                drawing = _critical_difference(names, ranks(figures), len(figures))
                yield Plot(f"Critical difference, {protocol}{on}", about, drawing)
        if whole:
            about = "Means over the sets: AUROC, and time to fit and to score the test set once; one thread."
            yield Plot(f"Time against AUROC{on}", about, _times(found, backbone))


def _curves(found: Figures, backbone: str, protocol: str, shown: Sequence[str], precision: bool) -> Drawn:
    sets = found.sets(backbone, protocol)
    figure, axes = _grid(len(sets))
    for one, axis in zip(sets, axes, strict=True):
        axis.set_title(one)
        for (colour, style), detector in zip(_looks(), shown, strict=False):
            labelled = found.scores(one, backbone, detector, protocol)
            if labelled is not None:
                band = (precision_band if precision else roc_band)(labelled)
                _draw_band(axis, GRID, band, detector, colour, style)
                by_chance = [float(labelled.abnormal.mean())] * 2 if precision else [0, 1]
                axis.plot([0, 1], by_chance, color="#999", linewidth=0.8)
        axis.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="recall" if precision else "false-alarm rate")
    axes[0].set_ylabel("precision" if precision else "sensitivity")
    _legend(figure, axes)
    return _drawn(figure)


def _histograms(found: Figures, backbone: str, protocol: str, detector: str) -> Drawn:
    sets = found.sets(backbone, protocol)
    figure, axes = _grid(len(sets))
    for one, axis in zip(sets, axes, strict=True):
        labelled = found.scores(one, backbone, detector, protocol)
        axis.set_title(one)
        axis.set_xlabel("anomaly score")
        if labelled is None:
            continue
        edges = np.histogram_bin_edges(labelled.scores, BINS)
        for label, name, colour in ((False, "normal", COLOURS[0]), (True, "abnormal", COLOURS[1])):
            axis.hist(
                labelled.scores[labelled.abnormal == label],
                edges.tolist(),
                density=True,
                alpha=0.55,
                color=colour,
                label=name,
            )
        axis.set_yticks([])
    axes[0].set_ylabel("density")
    axes[0].legend(fontsize=8, loc="upper right")  # to seek the best place may take long
    return _drawn(figure)


def _prevalence(found: Figures, backbone: str) -> Drawn:
    sets, detectors = found.sets(backbone, "prevalence"), found.detectors(backbone, "prevalence")
    shares = found.conditions(backbone, "prevalence")
    figure, axes = _grid(len(sets) + 1)
    positions = np.arange(len(shares))
    for (colour, style), detector in zip(_looks(), detectors, strict=False):
        means: list[Any] = []
        for one, axis in zip(sets, axes, strict=False):
            cells = [found.values("auroc", one, backbone, detector, "prevalence", share) for share in shares]
            if not all(cells):
                continue
            middle = np.array([np.mean(cell) for cell in cells])
            spread = np.array([np.std(cell, ddof=1) if len(cell) > 1 else 0 for cell in cells])
            _draw_band(axis, positions, Band(middle, middle - spread, middle + spread), detector, colour, style)
            axis.set_title(one)
            means.append(middle)
        if len(means) == len(sets):
            axes[-1].plot(positions, np.mean(means, axis=0), color=colour, linestyle=style, label=detector)
    axes[-1].set_title(f"mean of {len(sets)} sets")
    for axis in axes:
        axis.set_xticks(positions, [f"{share:.0%}" for share in shares])
        axis.set_xlabel("share of abnormal images")
    axes[0].set_ylabel("AUROC")
    _legend(figure, axes)
    return _drawn(figure)


def _critical_difference(names: Sequence[str], mean_ranks: Any, n_sets: int) -> Drawn:
    """Draw mean ranks on a line, the best on the right, as Demsar does (JMLR 7:1, 2006)."""
    n, widest = len(names), critical_difference(len(names), n_sets)
    order = np.argsort(mean_ranks, kind="stable")
    half = (n + 1) // 2
    figure = _figure(9.5, 1.5 + 0.2 * half)
    axis = figure.add_subplot()
    axis.axis("off")
    axis.set(xlim=(n + 0.3 * n, 1 - 0.3 * n), ylim=(-half - 2.2, 2.4))
    axis.plot([1, n], [0, 0], color="black", linewidth=1)
    for rank in range(1, n + 1):
        axis.plot([rank, rank], [0, 0.2], color="black", linewidth=1)
        axis.text(rank, 0.35, str(rank), ha="center", va="bottom")
    axis.plot([1, min(1 + widest, n)], [1.7, 1.7], color="black", linewidth=2)
    axis.text((1 + min(1 + widest, n)) / 2, 1.8, f"critical difference {widest:.2f}", ha="center", va="bottom")
    for place, number in enumerate(order):
        right = place < half
        depth = -(place if right else n - 1 - place) - 2.0
        edge = 1 - 0.08 * n if right else n + 0.08 * n
        axis.plot([mean_ranks[number]] * 2 + [edge], [0, depth, depth], color="#555", linewidth=0.8)
        text = f"{names[number]} {mean_ranks[number]:.1f}" if right else f"{mean_ranks[number]:.1f} {names[number]}"
        axis.text(edge, depth, f" {text} ", ha="left" if right else "right", va="center", fontsize=8)
    for line, (first, last) in enumerate(alike(mean_ranks[order], widest)):
        low, high = mean_ranks[order][first], mean_ranks[order][last]
        axis.plot([low - 0.05, high + 0.05], [-0.35 - 0.28 * line] * 2, color=COLOURS[1], linewidth=3)
    return _drawn(figure)


def alike(sorted_ranks: Any, widest: float) -> list[tuple[int, int]]:
    """List the longest runs, first and last place, of ascending ranks no farther apart than the critical difference."""
    runs: list[tuple[int, int]] = []
    for first in range(len(sorted_ranks)):
        last = int(np.searchsorted(sorted_ranks, sorted_ranks[first] + widest, side="right")) - 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _times(found: Figures, backbone: str) -> Drawn:
    figure = _figure(9.5, 3.8)
    axis = figure.add_subplot()
    drawn: dict[str, tuple[float, float]] = {}
    for protocol, marker, colour in (("single", "o", COLOURS[0]), ("published", "s", COLOURS[1])):
        names, figures = found.matrix(backbone, protocol)
        for name, auroc in zip(names, figures.mean(axis=0) if len(figures) else (), strict=True):
            seconds = [
                sum(found.mean(part, one, backbone, name, protocol) for part in ("fit_seconds", "score_seconds"))
                for one in found.sets(backbone, protocol)
            ]
            if name in drawn or np.isnan(seconds).any():
                continue
            drawn[name] = (max(float(np.mean(seconds)), 1e-3), float(auroc))
            axis.plot(*drawn[name], marker, color=colour, markersize=5)
    for name, (x, y) in drawn.items():
        axis.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=8)
    axis.set_xscale("log")
    axis.margins(x=0.12, y=0.1)
    axis.set(xlabel="seconds to fit and score", ylabel="mean AUROC")
    axis.grid(color="#ddd", linewidth=0.5)
    axis.plot([], [], "o", color=COLOURS[0], label="one image at a time")
    axis.plot([], [], "s", color=COLOURS[1], label="whole batches only")
    axis.legend(fontsize=8, loc="lower right")
    return _drawn(figure)


def _draw_band(axis: Axes, x: Any, band: Band, name: str, colour: str, style: str) -> None:
    axis.fill_between(x, band.low, band.high, color=colour, alpha=0.13, linewidth=0)
    axis.plot(x, band.middle, color=colour, linestyle=style, linewidth=1.4, label=name)


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Explain the lines of all drawings once, below them."""
    lines = {name: line for axis in axes for line, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=4, fontsize=8)


def _looks() -> Iterator[tuple[str, str]]:
    return zip(cycle(COLOURS), cycle(STYLES), strict=False)


def _grid(n: int) -> tuple[Figure, list[Axes]]:
    """Make room for n drawings side by side, three in a row."""
    columns = min(n, 3)
    rows = -(-n // columns)
    figure = _figure(max(9.5 * columns / 3, 5.5), 2.9 * rows + 0.3)
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(n)]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _drawn(figure: Figure) -> Drawn:
    """Write a drawing as an SVG element, whose identifiers get a prefix, for several stand in one page, and as PDF."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    prefix = f"p{hashlib.sha256(text.encode()).hexdigest()[:8]}-"
    printed = io.BytesIO()
    figure.savefig(printed, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", text), printed.getvalue()
