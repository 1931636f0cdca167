"""`msde score`: a model file and images in, a table of scores out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import with_cache, with_device
from msde.cli.progress import progress, report_unreadable

if TYPE_CHECKING:
    from msde.cache import EmbeddingCache
    from msde.pipeline import ImageScore


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Table to write: .csv, .jsonl or .parquet. [default: print CSV]",
)
@with_device
@with_cache
def score(model: Path, images: tuple[str, ...], output: Path | None, device: str, cache: EmbeddingCache | None) -> None:
    """Score images with a model file: high scores and low p-values are abnormal.

    IMAGES are files, folders (searched recursively) or globs. Columns: path, anomaly_score, p_value (how often a normal
    image scores at least as high), flagged (p-value at most the target false-alarm rate), error. A volume, stack or
    slide has a row for each slice, page or tile, PATH#PART, and then one for itself, PATH: the mean of the highest
    tenth of its scores. That one has a p-value once `msde calibrate` was given normal volumes.
    """
    from msde.images import find_images
    from msde.pipeline import AnomalyModel
    from msde.results import check_table, write_csv, write_table

    if output is not None:
        check_table(output)
    loaded = AnomalyModel.load(model, cache, device)
    paths = find_images(images)
    seen: list[ImageScore] = []
    with progress("Scoring", len(paths)) as tick:
        scores = _noting(loaded.score_iter(paths, tick=tick), seen)
        if output is None:
            write_csv(scores, sys.stdout)
        else:
            write_table(scores, output)
    if loaded.scorer_.batchwise:
        click.echo("msde: transductive scores depend on the batch, so they have no p-values and no flags", err=True)
    drift = loaded.drift(seen)
    if drift.found:
        click.echo(
            "msde: these images do not look like the normals that the model is calibrated on: their scores lie"
            f" {drift.distance:.2f} apart (Kolmogorov-Smirnov), of which chance and 10 % abnormal images explain"
            f" {drift.explained:.2f}; either over a tenth are abnormal, or their source is another and p-values are"
            " wrong until `msde calibrate` has seen normals of it",
            err=True,
        )
    report_unreadable([result.error for result in seen if result.error is not None])


def _noting(scores: Iterable[ImageScore], seen: list[ImageScore]) -> Iterator[ImageScore]:
    for result in scores:
        seen.append(result)
        yield result
