"""`msde data`: look over a labelled data set, and fetch public ones."""

from __future__ import annotations

from pathlib import Path

import click

from msde.cli.progress import progress, report_unreadable


@click.group()
def data() -> None:
    """Look over a labelled data set, or fetch a public one."""


@data.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--normal", metavar="LABELS", help="Labels of the normal classes of an .npz file, such as 0,3 or none.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the findings to this file, as JSON.")
def check(folder: Path, normal: str | None, json_file: Path | None) -> None:
    """Check a data set: what it holds, and what makes results on it doubtful.

    DIR is a set's folder as its archive unpacks, or an .npz file of MedMNIST. Each image is read once: counts, sizes,
    kinds of file, faulty masks, fingerprints to compare with another copy, duplicates of test images among those to
    train on, and how far trivial statistics and the size of the files tell normal from abnormal.
    """
    from msde.datasets import read_dataset
    from msde.datasets.inspection import SPLITS, inspect_dataset
    from msde.output.score_table import write_json
    from msde.storage.atomic import check_writable

    if json_file is not None:
        check_writable(json_file)
    dataset = read_dataset(folder, normal=normal.split(",") if normal else ())
    with progress("Reading", sum(len(getattr(dataset, split)) for split in SPLITS)) as tick:
        inspection = inspect_dataset(dataset, tick)
    for line in inspection.lines():
        click.echo(line)
    for warning in inspection.warnings():
        click.echo(f"warning: {warning}")
    if json_file is not None:
        write_json(inspection.figures(), json_file)
    report_unreadable(inspection.unreadable)


@data.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Folder to unpack into. [default: here]",
)
@click.option("--mirror", metavar="URL", help="Address of a folder with the same archives, https or on this machine.")
def fetch(name: str, output: Path, mirror: str | None) -> None:
    """Download a public data set, check it against the published checksum and unpack it.

    NAME is one of MedIAnomaly's seven, such as RSNA, or a set of MedMNIST, such as octmnist_224. An interrupted
    download goes on where it stopped, and an archive that is already in DIR is checked and used.
    """
    from msde.datasets.fetch import fetch_set, find_known

    entry = find_known(name)
    click.echo(f"{entry.name}: {', '.join(archive.url for archive in entry.archives)}")
    click.echo(f"{entry.name}: {entry.terms}; for research use only")
    click.echo(fetch_set(entry, output, mirror, progress))
