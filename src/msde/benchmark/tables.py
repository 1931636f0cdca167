"""What was found, as tables: the same for the page and for tables.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msde.benchmark.detectors import find_detector
from msde.benchmark.figures import Figures
from msde.benchmark.protocols import FALSE_ALARMS, PROTOCOLS
from msde.benchmark.run import Results
from msde.benchmark.statistics import compare, friedman, holm, ranks, wilcoxon
from msde.output.score_table import write_lines

NONE = "–"
WHOLE = ("single", "published")
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Table:
    """A table with a title and what is to be said of it; all cells are text."""

    title: str
    about: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> Iterator[str]:
        """Yield it as Markdown, a line each."""
        yield from (f"### {self.title}", "", self.about, "")
        yield f"| {' | '.join(self.header)} |"
        yield "|---" * len(self.header) + "|"
        yield from (f"| {' | '.join(row)} |" for row in self.rows)
        yield ""


def write_tables(results: Results, tables: Iterable[Table], path: Path) -> None:
    """Write all tables as Markdown; raise OutputError if the file cannot be written."""
    lines = [f"## {results.config.title}", "", *results.config.remark.strip().splitlines(), ""]
    write_lines([*lines, *(line for table in tables for line in table.markdown())], path)


def all_tables(results: Results) -> Iterator[Table]:
    """Yield the tables for which there is anything."""
    found = Figures(results.config, results.lines)
    yield _sets(results)
    for backbone in found.backbones:
        on = f", {backbone}" if len(found.backbones) > 1 else ""
        if any(one.published for one in results.config.sets):
            yield _beside_published(found, backbone, on)
        for protocol in WHOLE:
            if found.detectors(backbone, protocol):
                yield _whole(found, backbone, protocol, on)
                yield _pairs(found, backbone, protocol, on)
                yield from _over_sets(found, backbone, protocol, on)
        yield from _false_alarms(found, backbone, on)
        for protocol, figure, title in _BY_CONDITION:
            if found.detectors(backbone, protocol):
                yield _by_condition(found, backbone, protocol, figure, title + on)
        if found.detectors(backbone, "cross-site"):
            yield _cross_site(found, backbone, on)
    if results.config.select:
        yield _selection(found)
    yield _costs(found)


_BY_CONDITION = (
    ("prevalence", "auroc", "Share of abnormal images: AUROC"),
    ("prevalence", "ap", "Share of abnormal images: average precision"),
    ("contamination", "lost", "Abnormal images among the normals: AUROC lost"),
    ("few-normals", "auroc", "Few normals: AUROC"),
    ("few-labels", "auroc", "Few labelled abnormal images: AUROC"),
    ("open-set", "auroc", "Kinds without labels: AUROC"),
    ("open-set", "auroc_worst_kind", "Kinds without labels: AUROC where the worst kind is the labelled one"),
)
_NOTES = {
    "prevalence": " Pool and scored images are of different patients.",
    "contamination": " Against a fit without them, on the same test images.",
    "few-normals": " The mean is over the sets that have all the numbers.",
    "few-labels": " Columns are numbers of labelled images, or all of one half of the patients where these are fewer."
    " Detectors that take no labels have the same images to score.",
    "open-set": " Columns are numbers of labelled images, or all there are. Detectors that take no labels have the same"
    " images to score.",
}


def _sets(results: Results) -> Table:
    rows = []
    for one in results.config.sets:
        sizes = results.sizes.get(one.name)
        rows.append([one.name, one.modality, " / ".join(map(str, sizes)) if sizes else "not on this machine"])
    about = f"{results.config.draws} draws or seeds of whatever is random."
    return Table("Sets", about, ["set", "modality", "training normals / normals / abnormal"], rows)


def _whole(found: Figures, backbone: str, protocol: str, on: str) -> Table:
    sets = found.sets(backbone, protocol)
    rows = []
    for detector in found.detectors(backbone, protocol):
        means = {
            figure: [found.mean(figure, one, backbone, detector, protocol) for one in sets]
            for figure in ("auroc", "ap")
        }
        cells = [_with_interval(found, one, backbone, detector, protocol) for one in sets]
        rows.append([detector, *cells, *(_number(float(np.mean(means[figure]))) for figure in means)])
    rows.sort(key=lambda row: row[-2] if row[-2] != NONE else "", reverse=True)
    about = (
        f"{_sentence(PROTOCOLS[protocol].about)}. AUROC with its 95 % bootstrap interval over patients, or ± standard"
        " deviation over seeds; the means are over the sets."
    )
    return Table(f"Protocol {protocol}{on}", about, ["detector", *sets, "mean AUROC", "mean AP"], rows)


def _false_alarms(found: Figures, backbone: str, on: str) -> Iterator[Table]:
    """Yield the false-alarm rates of the detectors that calibrate themselves, if there are any."""
    sets, rows = found.sets(backbone, "single"), []
    for detector in found.detectors(backbone, "single"):
        for one in sets:
            rates = [found.mean(name, one, backbone, detector, "single") for name in FALSE_ALARMS.values()]
            if not np.isnan(rates).any():
                auroc = found.mean("auroc", one, backbone, detector, "single")
                rows.append([detector, one, _number(auroc), *(f"{rate:.1%}" for rate in rates)])
    if rows:
        about = (
            "Share of the test normals that is flagged. The thresholds are those of training normals held out by"
            " patient, as far as names tell patients; sets whose test normals are of other devices may have more."
        )
        header = ["detector", "set", "AUROC", *(f"at a target of {target:.0%}" for target in FALSE_ALARMS)]
        yield Table(f"False alarms{on}", about, header, rows)


def _pairs(found: Figures, backbone: str, protocol: str, on: str) -> Table:
    detectors, sets = found.detectors(backbone, protocol), found.sets(backbone, protocol)
    reference, others = detectors[0], detectors[1:]
    columns: list[list[str]] = []
    for one in sets:
        scored = {name: found.scores(one, backbone, name, protocol) for name in detectors}
        own = scored[reference]
        pairs = [None if own is None or scored[name] is None else compare(own, scored[name]) for name in others]  # type: ignore[arg-type]
        adjusted = iter(holm([pair.p_value for pair in pairs if pair is not None]))
        columns.append(
            [
                NONE
                if pair is None
                else f"{pair.value:+.3f} ({pair.low:+.3f} to {pair.high:+.3f}){_star(next(adjusted))}"
                for pair in pairs
            ]
        )
    about = (
        f"AUROC of {reference} minus that of the other on the same images (DeLong, by patients; 95 % interval; seed 0)."
        f" A star: p < {SIGNIFICANT} after Holm's correction within the set."
    )
    return Table(
        f"Pairs, {protocol}{on}", about, ["against", *sets], [list(row) for row in zip(others, *columns, strict=True)]
    )


def _over_sets(found: Figures, backbone: str, protocol: str, on: str) -> Iterator[Table]:
    names, figures = found.matrix(backbone, protocol)
    if len(figures) < 2 or len(names) < 2:
        return
    mean_ranks = ranks(figures)
    p_values = [float("nan"), *wilcoxon(figures, 0)]
    rows = [
        [names[place], f"{mean_ranks[place]:.2f}", NONE if np.isnan(p_values[place]) else f"{p_values[place]:.3f}"]
        for place in np.argsort(mean_ranks, kind="stable")
    ]
    about = (
        f"Friedman's test of all being alike: p = {friedman(figures):.2g} over {len(figures)} sets. p-values are"
        f" Wilcoxon's against {names[0]}, after Holm's correction; with {len(figures)} sets none before it can be below"
        f" {2 / 2 ** len(figures):.3g}."
    )
    yield Table(f"Over sets, {protocol}{on}", about, ["detector", "mean rank", "p"], rows)


def _by_condition(found: Figures, backbone: str, protocol: str, figure: str, title: str) -> Table:
    conditions = found.conditions(backbone, protocol)
    sets, detectors = found.sets(backbone, protocol), found.detectors(backbone, protocol)
    rows: list[list[str]] = []
    means: dict[str, list[list[float]]] = {name: [] for name in detectors}
    for one in sets:
        for detector in detectors:
            values = [found.values(figure, one, backbone, detector, protocol, condition) for condition in conditions]
            rows.append([one, detector, *map(_with_deviation, values)])
            if all(values):
                means[detector].append([float(np.mean(cell)) for cell in values])
    for detector, cells in means.items():
        whole = [_number(mean) for mean in np.mean(cells, axis=0)] if cells else [NONE] * len(conditions)
        rows.append([f"**mean of {len(cells)}**", detector, *whole])
    about = f"{_sentence(PROTOCOLS[protocol].about)}. Mean ± standard deviation over draws.{_NOTES[protocol]}"
    return Table(title, about, ["set", "detector", *map(_named, conditions)], rows)


def _cross_site(found: Figures, backbone: str, on: str) -> Table:
    figures = ("auroc", "ap", "false_alarms_own", "false_alarms_local", "sensitivity_own", "sensitivity_local")
    rows = []
    for target in found.conditions(backbone, "cross-site"):
        for one in found.sets(backbone, "cross-site"):
            for detector in found.detectors(backbone, "cross-site"):
                values = [found.values(figure, one, backbone, detector, "cross-site", target) for figure in figures]
                if all(values):
                    cells = [f"{np.mean(v):.3f}" if n < 2 else f"{np.mean(v):.0%}" for n, v in enumerate(values)]
                    rows.append([f"{one} → {target}", detector, *cells])
    about = (
        "Fitted on the one set and used on the other. False alarms and sensitivity at a target of"
        f" {found.config.alpha:.0%}, calibrated on normals of the first (own) or on up to 50 of the second (local)."
    )
    names = [
        "AUROC",
        "AP",
        "false alarms, own",
        "false alarms, local",
        "sensitivity, own",
        "sensitivity, local",
    ]
    return Table(f"Protocol cross-site{on}", about, ["sets", "detector", *names], rows)


def _selection(found: Figures) -> Table:
    rows, chosen_figures, own_figures = [], [], []
    for one in [plan.name for plan in found.config.sets]:
        candidates = [
            (found.mean("aucp", one, backbone, detector, "single"), backbone, detector)
            for backbone in found.backbones
            for detector in found.detectors(backbone, "single")
        ]
        known = [candidate for candidate in candidates if not np.isnan(candidate[0])]
        if not known:
            continue
        quality, backbone, detector = max(known, key=lambda candidate: candidate[0])
        reference = found.detectors(found.backbones[0], "single")[0]
        chosen = found.mean("auroc", one, backbone, detector, "single")
        own = found.mean("auroc", one, found.backbones[0], reference, "single")
        rows.append([one, f"{detector} on {backbone}", *map(_number, (quality, chosen, own))])
        chosen_figures.append(chosen)
        own_figures.append(own)
    if rows:
        rows.append(["**mean**", "", "", *(_number(float(np.mean(part))) for part in (chosen_figures, own_figures))])
    about = (
        "Detector and backbone chosen for each set by AUCp: how well held-out training normals are told from the"
        " unlabelled test images (IEEE TMI 2026). It sees no labels, but the test images; no other table rests on it."
    )
    header = ["set", "chosen", "its AUCp", "its AUROC", f"AUROC of {found.config.detectors[0]}"]
    return Table("Choice without labels", about, header, rows)


def _beside_published(found: Figures, backbone: str, on: str) -> Table:
    detectors = list(found.config.detectors)
    rows = []
    for one in found.config.sets:
        for figure in one.published:
            cells = [_marked(found, one.name, backbone, name, figure, one.published[figure]) for name in detectors]
            rows.append([one.name, figure.upper(), f"{one.published[figure]:.3f}", *cells])
    about = (
        "Protocol published: the whole test set at once, where a detector can use it. The published figure lies within"
        " our 95 % interval, or ours is below or above it by more than that."
    )
    return Table(f"Beside the published figures{on}", about, ["set", "figure", "published", *detectors], rows)


def _marked(found: Figures, one: str, backbone: str, detector: str, figure: str, published: float) -> str:
    value, low, high = (
        found.mean(name, one, backbone, detector, "published") for name in (figure, f"{figure}_low", f"{figure}_high")
    )
    if np.isnan(value):
        return "not run"
    mark = "within" if low <= published <= high else "above" if value > published else "below"
    return f"{value:.3f} {mark}"


def _costs(found: Figures) -> Table:
    rows = []
    for detector in found.config.detectors:
        lines = [line for line in found.lines if line["detector"] == detector]
        if lines:
            times = [[line[f"{part}_seconds"] for line in lines] for part in ("fit", "score")]
            peak = max(line["peak_mb"] for line in lines)
            rows.append(
                [
                    detector,
                    find_detector(detector).about,
                    str(len(lines)),
                    *(f"{np.median(part):.2f}" for part in times),
                    f"{peak:.0f}",
                ]
            )
    about = "Medians over the cells, one thread. The peak is that of the whole process, libraries included."
    return Table(
        "Costs", about, ["detector", "what it is", "cells", "fit in s", "scoring in s", "largest peak in MB"], rows
    )


def _with_interval(found: Figures, one: str, backbone: str, detector: str, protocol: str) -> str:
    values = found.values("auroc", one, backbone, detector, protocol, None)
    if len(values) != 1:
        return _with_deviation(values)
    low, high = (found.mean(f"auroc_{end}", one, backbone, detector, protocol) for end in ("low", "high"))
    return f"{values[0]:.3f} ({low:.3f} to {high:.3f})"


def _with_deviation(values: Sequence[float]) -> str:
    if not values:
        return NONE
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def _number(value: float) -> str:
    return NONE if np.isnan(value) else f"{value:.3f}"


def _named(condition: object) -> str:
    return f"{condition:.0%}" if isinstance(condition, float) else str(condition)


def _star(p_value: float) -> str:
    return " *" if p_value < SIGNIFICANT else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
