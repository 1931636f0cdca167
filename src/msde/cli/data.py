"""`msde data`: look over a labelled data set, and fetch public ones."""

from __future__ import annotations

import os
from pathlib import Path

import click

from msde.cli.options import with_answer, with_output
from msde.cli.progress import answer, progress, report_unreadable, say


@click.group()
def data() -> None:
    """Look over a labelled data set, or fetch a public one."""


@data.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--normal", metavar="LABELS", help="Labels of the normal classes of an .npz file, such as 0,3 or none.")
@with_answer
def check(folder: Path, normal: str | None) -> None:
    """Check a data set: what it holds, and what makes results on it doubtful.

    DIR is a set's folder as its archive unpacks, or an .npz file of MedMNIST. Each image is read once: counts, sizes,
    kinds of file, faulty masks, fingerprints to compare with another copy, duplicates of test images among those to
    train on, and how far trivial statistics and the size of the files tell normal from abnormal.
    """
    from msde.datasets import read_dataset
    from msde.datasets.inspection import SPLITS, inspect_dataset

    dataset = read_dataset(folder, normal=normal.split(",") if normal else ())
    with progress("Reading", sum(len(getattr(dataset, split)) for split in SPLITS)) as tick:
        inspection = inspect_dataset(dataset, tick)
    warnings = [f"warning: {warning}" for warning in inspection.warnings()]
    answer(inspection.figures(), [*inspection.lines(), *warnings])
    report_unreadable(inspection.unreadable)


@data.command("list")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("split", type=click.Choice(["train", "normal", "abnormal"]))
@with_answer
def list_(folder: Path, split: str) -> None:
    """List the images of a set, a path each line: normals to train on, or normal or abnormal images to test on.

    For other commands, whatever the layout: msde fit $(msde data list DIR train) -o model.msde. Sets whose images have
    no files of their own, such as those of MedMNIST, cannot be listed.
    """
    from msde.datasets import read_dataset
    from msde.errors import DataError

    paths = getattr(read_dataset(folder), split)
    if not all(isinstance(path, str | os.PathLike) for path in paths):
        raise DataError(f"{folder}: its images have no files of their own; give it to the commands that take a set")
    names = list(map(os.fspath, paths))
    answer({"split": split, "paths": names}, names)


@data.command()
@click.argument("name")
@with_output(default=Path(), metavar="DIR", help="Folder to unpack into. [default: here]")
@click.option("--mirror", metavar="URL", help="Address of a folder with the same archives, https or on this machine.")
@with_answer
def fetch(name: str, output: Path, mirror: str | None) -> None:
    """Download a public data set, check it against the published checksum and unpack it.

    NAME is one of MedIAnomaly's seven, such as RSNA, or a set of MedMNIST, such as octmnist_224. An interrupted
    download goes on where it stopped, and an archive that is already in DIR is checked and used.
    """
    from msde.datasets.fetch import fetch_set, find_known

    entry = find_known(name)
    urls = [archive.url for archive in entry.archives]
    say(f"{entry.name}: {', '.join(urls)}")
    say(f"{entry.name}: {entry.terms}; for research use only")
    fetched = fetch_set(entry, output, mirror, progress)
    say(fetched)
    answer({"name": entry.name, "archives": urls, "terms": entry.terms, "fetched": fetched})
