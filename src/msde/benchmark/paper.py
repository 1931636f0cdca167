"""What was found, for a paper: drawings, tables, a paragraph on methods and its citations, a file each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msde import __version__
from msde.benchmark.citations import OF_SETS, bibliography, of_detector, of_networks
from msde.benchmark.latex import PREAMBLE, escaped, latex
from msde.benchmark.plots import Plot
from msde.benchmark.protocols import PROTOCOLS
from msde.benchmark.run import Results
from msde.benchmark.tables import Table
from msde.output.score_table import csv_row, write_lines
from msde.storage.atomic import make_folder, writing

METHODS = "methods.md"


def write_paper(results: Results, tables: Sequence[Table], plots: Sequence[Plot], folder: Path) -> None:
    """Write each drawing as SVG and PDF, each table as CSV, Markdown and LaTeX, methods.md and references.bib.

    paper.tex sets all tables and drawings, to be looked at. Raises OutputError if a file cannot be written.
    """
    make_folder(folder)
    for plot in plots:
        write_lines([plot.svg], folder / f"{name_of(plot)}.svg", breaks=True)
        with writing(folder / f"{name_of(plot)}.pdf", keep=True) as unfinished:
            unfinished.write_bytes(plot.pdf)
    for table in tables:
        name = name_of(table)
        plain = ([cell.replace("**", "") for cell in row] for row in (table.header, *table.rows))
        write_lines(["".join(map(csv_row, plain)).rstrip("\n")], folder / f"{name}.csv", breaks=True)
        write_lines(table.markdown(), folder / f"{name}.md")
        write_lines(latex(table, name), folder / f"{name}.tex")
    entries = bibliography()
    text = "\n".join(_methods(results))
    cited = sorted(set(re.findall(r"@(\w+)", text)) & entries.keys())
    write_lines([text], folder / METHODS, breaks=True)
    write_lines([f"{entries[key]}\n" for key in cited], folder / "references.bib", breaks=True)
    write_lines(_document(results, tables, plots, cited), folder / "paper.tex")


def name_of(one: Plot | Table) -> str:
    """Return what a drawing's or table's files are called."""
    kind = "plot" if isinstance(one, Plot) else "table"
    return f"{kind}-" + re.sub(r"[^a-z0-9]+", "-", one.title.lower()).strip("-")


def _document(results: Results, tables: Iterable[Table], plots: Iterable[Plot], cited: Sequence[str]) -> Iterator[str]:
    yield from (
        *PREAMBLE,
        f"\\title{{{escaped(results.config.title)}}}",
        r"\date{}",
        r"\begin{document}",
        r"\maketitle",
    )
    yield from (f"\\input{{{name_of(table)}}}" for table in tables)
    for plot in plots:
        yield from (
            r"\begin{figure}[htbp]",
            r"\centering",
            f"\\includegraphics[width=\\linewidth]{{{name_of(plot)}.pdf}}",
        )
        yield from (f"\\caption{{{escaped(plot.title)}. {escaped(plot.about)}}}", f"\\label{{fig:{name_of(plot)}}}")
        yield r"\end{figure}"
    yield from (f"\\nocite{{{','.join(cited)}}}", r"\bibliographystyle{plain}", r"\bibliography{references}")
    yield r"\end{document}"


def _methods(results: Results) -> Iterator[str]:
    """Yield the section on methods, in Markdown with citations as pandoc reads them."""
    config = results.config
    measured = [one for one in config.sets if one.name in results.sizes]
    yield from ("## Methods", "")
    sets = "; ".join(
        f"{one.name} ({one.modality}{_cited(OF_SETS.get(one.name, ()))}: {_in_words(results.sizes[one.name])})"
        for one in measured
    )
    known = [one.name for one in measured if one.patient]
    patients = (
        f"Patients were told by the names of files in {', '.join(known)}; elsewhere each image counted as a patient."
        if known
        else "Each image counted as a patient."
    )
    yield f"**Data and splits.** {len(measured)} sets were used: {sets}. {patients}"
    missing = [one.name for one in config.sets if one.name not in results.sizes]
    if missing:
        yield f"Not measured, because not at hand: {', '.join(missing)}."
    backbones = "; ".join(
        f"{plan.name}{_cited(of_networks(plan.networks))} ({', '.join(plan.networks)}; looks {', '.join(plan.looks)})"
        for plan in config.backbones
    )
    detectors = ", ".join(f"{name}{_cited(of_detector(name))}" for name in config.detectors)
    yield ""
    yield (
        f"**Embeddings and detectors.** Images became embeddings by {backbones}. On the same embeddings, or feature"
        f" maps of the same pass, we measured {detectors}. No detector saw a label but in the protocols that give some,"
        " and no setting was chosen by set."
    )
    yield ""
    protocols = "; ".join(f"*{one.name}*: {PROTOCOLS[one.name].about}" for one in config.protocols)
    yield f"**Protocols.** {protocols}. Whatever is random had {config.draws} seeds."
    yield ""
    yield (
        "**Statistics.** Intervals are 95 % percentile bootstraps over patients, 1,000 resamples [@efron1986bootstrap]."
        " Detectors were compared on a set by DeLong's test [@delong1988comparing] in Obuchowski's form for several"
        " images of a patient [@obuchowski1997nonparametric], with Holm's correction [@holm1979simple], and over sets"
        " by Friedman's test and Wilcoxon's signed ranks [@demsar2006statistical]."
    )
    yield ""
    yield f"**Software.** {_software(results)}"


def _software(results: Results) -> str:
    origins = sorted(
        {
            (
                ", ".join(f"{name} {version}" for name, version in line["versions"].items() if name != "msde"),
                str(line["version"]),
                str(line["revision"] or "")[:12],
            )
            for line in results.lines
            if "versions" in line and "version" in line
        }
    )
    said = "; ".join(
        f"MSDE {version}{f' (revision {revision})' if revision else ''} with {libraries}"
        for libraries, version, revision in origins
    )
    return (
        f"{said or f'MSDE {__version__}'}. For research use only; no clinical performance follows from these figures."
    )


def _in_words(sizes: tuple[int, int, int]) -> str:
    train, normal, abnormal = sizes
    return f"{train:,} normals to train on, {normal:,} normal and {abnormal:,} abnormal images to test on"


def _cited(keys: Iterable[str]) -> str:
    cited = "; ".join(f"@{key}" for key in keys)
    return f" [{cited}]" if cited else ""
