"""`msde embed`: images in, a table of embeddings out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import with_answer, with_backbone, with_cache, with_device, with_look, with_output, with_rule
from msde.cli.progress import answer, progress, remark, report_unreadable, tell
from msde.cli.ray import refuse_with_ray, report, with_ray

if TYPE_CHECKING:
    from msde.cluster.cluster import Cluster
    from msde.embedding.cache import EmbeddingCache
    from msde.model.anomaly_model import AnomalyModel


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...", type=click.Path())
@with_output(help="Parquet file to write. [default: with --ray, the parts alone]")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Embed as this model does. [default: as `msde fit` would with the options below]",
)
@with_backbone
@with_look
@with_rule
@with_device
@with_cache
@with_ray
@with_answer
def embed(
    images: tuple[str, ...],
    output: Path | None,
    model: Path | None,
    backbones: tuple[str, ...],
    looks: tuple[str, ...],
    intensity: str,
    aspect: str,
    device: str,
    cache: EmbeddingCache | None,
    cluster: Cluster | None,
) -> None:
    """Write the embeddings of images to a table, for other tools or a later `msde fit --ray`.

    IMAGES are files, folders (searched recursively) or globs. Columns: path, embedding (float32), sha256 of the pixels
    that the network sees, error, volume (of which the image is a part) and peak (the brightest pixel, 0 to 1).
    """
    from msde.backbones.known import BUILT_IN
    from msde.embedding.encoder import DEFAULT_LOOKS
    from msde.images import ImageRule
    from msde.model.anomaly_model import AnomalyModel

    if model is not None and (backbones or looks):
        raise click.UsageError("--model brings its own backbone and looks; leave --backbone and --look out")
    if output is not None:
        _check(output)
    elif cluster is None:
        raise click.UsageError("embeddings are written as Parquet; give -o FILE.parquet")
    if model is not None:
        embedder = AnomalyModel.load(model, cache, device)
    else:
        rule = ImageRule(intensity, aspect)
        embedder = AnomalyModel(backbones or (BUILT_IN,), None, cache, looks or DEFAULT_LOOKS, rule, device)
    if cluster is not None:
        refuse_with_ray(cache=cache)
        _embed_on(cluster, embedder, images, output)
    elif output is not None:
        _embed_here(embedder, images, output)


def _check(output: Path) -> None:
    """Refuse what is no Parquet file, or cannot be written."""
    from msde.errors import OutputError
    from msde.output.score_table import check_table

    if output.suffix.lower() != ".parquet":
        raise OutputError(f"{output}: embeddings are written as Parquet; give -o FILE.parquet")
    check_table(output)


def _embed_on(cluster: Cluster, embedder: AnomalyModel, images: Sequence[str], output: Path | None) -> None:
    """Embed on a cluster, which lists the images itself."""
    from msde.cluster.api import embed_on
    from msde.cluster.one_table import write_embeddings_of

    job, summary = embed_on(cluster, embedder.encoder, embedder.rule, images, remark)
    if output is not None:
        write_embeddings_of(job, output)
    report(summary, cluster.parts, output)


def _embed_here(embedder: AnomalyModel, images: Sequence[str], output: Path) -> None:
    """Embed on this machine."""
    from msde.cluster.arrow import write_embeddings
    from msde.embedding.embed import ticking
    from msde.images import find_images
    from msde.storage.atomic import writing

    paths = find_images(images, tell)
    with progress("Embedding", len(paths), session=embedder.session) as tick, writing(output, keep=True) as unfinished:
        errors = write_embeddings(ticking(embedder.embed(paths), tick), unfinished)
    answer({"output": str(output), "rows": len(paths), "errors": errors})
    report_unreadable(errors)
