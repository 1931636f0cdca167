"""`msde benchmark`: sets, backbones, detectors and protocols from a TOML file in, figures and a page out."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from msde.cli.options import with_device
from msde.cli.progress import progress, tell


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--published", is_flag=True, help="Measure the seven published sets instead, beside their figures.")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder that the sets' folders are in.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for cells.jsonl, benchmark.html and tables.md. Give the same one to go on after an interruption.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Processes that work at the same time. [default: the usable processors]"
)
@click.option(
    "--kinds",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV file with the columns path (of an abnormal image or a folder of them, from the CSV's folder) and kind, as"
    " open-set needs; it goes before the patterns of the TOML file and the names of folders.",
)
@with_device
def benchmark(
    config: Path | None, published: bool, data: Path, output: Path, jobs: int | None, kinds: Path | None, device: str
) -> None:
    """Measure detectors side by side, as a TOML file says: sets x backbones x detectors x protocols.

    What the output folder holds already is not measured again. docs/benchmark.md describes the file, the protocols and
    the figures.
    """
    from msde.benchmark.config import PUBLISHED, read_config
    from msde.benchmark.page import check_plots, write_page
    from msde.benchmark.run import run
    from msde.benchmark.tables import write_tables
    from msde.images.patients import GroupTable

    if published == (config is not None):
        raise click.UsageError("give either a TOML file or --published")
    check_plots()
    table = None if kinds is None else GroupTable.read(kinds, tell, "kind")
    results = run(read_config(config or PUBLISHED), data, output, progress, jobs, device, table)
    write_tables(results, output / "tables.md")
    write_page(results, output / "benchmark.html")
    for notice in results.notices:
        click.echo(f"msde: {notice}", err=True)
    click.echo(
        f"{results.n_measured} cells measured, {len(results.lines)} in all: {output / 'benchmark.html'},"
        f" {output / 'tables.md'}, {output / 'cells.jsonl'}"
    )
    if results.notices:
        sys.exit(3)
