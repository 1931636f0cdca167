"""`msde score`: a model file and images in, a table of scores out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from msde.cli.progress import progress, report_unreadable
from msde.pipeline import AnomalyModel, ImageScore


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Table to write: .csv, .jsonl or .parquet. [default: print CSV]",
)
def score(model: Path, images: tuple[str, ...], output: Path | None) -> None:
    """Score images with a model file: high scores and low p-values are abnormal.

    IMAGES are files, folders (searched recursively) or globs. Columns: path, anomaly_score, p_value (how often a normal
    image scores at least as high), flagged (p-value at most the target false-alarm rate), error.
    """
    from msde.images import find_images
    from msde.results import check_table, write_csv, write_table

    if output is not None:
        check_table(output)
    loaded = AnomalyModel.load(model)
    paths = find_images(images)
    errors: list[str] = []
    with progress("Scoring", len(paths)) as tick:
        scores = _noting_errors(loaded.score_iter(paths, tick=tick), errors)
        if output is None:
            write_csv(scores, sys.stdout)
        else:
            write_table(scores, output)
    report_unreadable(errors)


def _noting_errors(scores: Iterable[ImageScore], errors: list[str]) -> Iterator[ImageScore]:
    for result in scores:
        if result.error is not None:
            errors.append(result.error)
        yield result
