"""`msde benchmark`: sets, backbones, detectors and protocols from a TOML file in, figures and a page out."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from msde.cli.options import with_answer, with_checkpoint, with_device, with_kinds, with_output, with_workers
from msde.cli.progress import answer, progress, say, tell


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--published", is_flag=True, help="Measure the seven published sets instead, beside their figures.")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder that the sets' folders are in.")
@with_output(
    required=True,
    help="Folder for cells.jsonl, benchmark.html, tables.md and paper/. Give the same one to go on after an"
    " interruption.",
)
@with_workers
@with_kinds
@with_checkpoint
@with_device
@with_answer
def benchmark(
    config: Path | None,
    published: bool,
    data: Path,
    output: Path,
    workers: int | None,
    kinds: Path | None,
    checkpoint: Path | None,
    device: str,
) -> None:
    """Measure detectors side by side, as a TOML file says: sets x backbones x detectors x protocols.

    What the output folder holds already is not measured again. --kinds goes before the patterns of the TOML file and
    the names of folders; --checkpoint is of the one backbone that would fetch its weights. docs/benchmark.md describes
    the file, the protocols and the figures.
    """
    from msde.benchmark.config import PUBLISHED, read_config, with_weights
    from msde.benchmark.page import check_plots, write_page
    from msde.benchmark.paper import write_paper
    from msde.benchmark.plots import all_plots
    from msde.benchmark.run import run
    from msde.benchmark.tables import all_tables, write_tables
    from msde.images.patients import GroupTable

    if published == (config is not None):
        raise click.UsageError("give either a TOML file or --published")
    check_plots()
    table = None if kinds is None else GroupTable.read(kinds, tell, "kind")
    plan = read_config(config or PUBLISHED)
    if checkpoint is not None:
        plan = with_weights(plan, checkpoint)
    results = run(plan, data, output, progress, workers, device, table)
    tables, plots = list(all_tables(results)), all_plots(results)
    write_tables(results, tables, output / "tables.md")
    write_page(results, tables, plots, output / "benchmark.html")
    write_paper(results, tables, plots, output / "paper")
    for notice in results.notices:
        tell(notice)
    say(
        f"{results.n_measured} cells measured, {len(results.lines)} in all: {output / 'benchmark.html'},"
        f" {output / 'tables.md'}, {output / 'cells.jsonl'}, {output / 'paper'}"
    )
    answer(
        {
            "output": str(output),
            "measured": results.n_measured,
            "cells": len(results.lines),
            "notices": list(results.notices),
        }
    )
    if results.notices:
        sys.exit(3)
