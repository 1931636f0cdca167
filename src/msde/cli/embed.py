"""`msde embed`: images in, a table of embeddings out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import with_cache, with_device
from msde.cli.progress import progress, report_unreadable, tell
from msde.cli.ray import refuse_with_ray, report, with_ray

if TYPE_CHECKING:
    from msde.cluster.cluster import Cluster
    from msde.embedding.cache import EmbeddingCache


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Parquet file to write. [default: --parts]")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Embed as this model does. [default: as `msde fit` would with the options below]",
)
@click.option("--backbone", "backbones", multiple=True, metavar="NAME", help="As in `msde fit`.")
@click.option("--look", "looks", multiple=True, metavar="VIEW:POOLING", help="As in `msde fit`.")
@click.option("--intensity", default="dicom", metavar="RULE", show_default=True, help="As in `msde fit`.")
@click.option(
    "--aspect",
    type=click.Choice(["squeeze", "letterbox"]),
    default="squeeze",
    show_default=True,
    help="As in `msde fit`.",
)
@with_device
@with_cache
@with_ray
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
    from msde.embedding.embed import ticking
    from msde.embedding.encoder import DEFAULT_LOOKS
    from msde.errors import OutputError
    from msde.images import ImageRule, find_images
    from msde.model.anomaly_model import AnomalyModel
    from msde.output.score_table import check_table
    from msde.storage.atomic import writing

    if model is not None and (backbones or looks):
        raise click.UsageError("--model brings its own backbone and looks; leave --backbone and --look out")
    if model is not None:
        embedder = AnomalyModel.load(model, cache, device)
    else:
        rule = ImageRule(intensity, aspect)
        embedder = AnomalyModel(backbones or ("efficientnet_lite0",), None, cache, looks or DEFAULT_LOOKS, rule, device)
    if cluster is not None:
        refuse_with_ray(output=output, cache=cache)
        from msde.cluster.api import embed_on

        return report(embed_on(cluster, embedder.encoder, embedder.rule, images, tell)[1], cluster.parts)
    if output is None or output.suffix.lower() != ".parquet":
        raise OutputError(f"{output or 'no file'}: embeddings are written as Parquet; give -o FILE.parquet")
    check_table(output)
    from msde.cluster.arrow import write_embeddings

    paths = find_images(images, tell)
    with progress("Embedding", len(paths), session=embedder.session) as tick, writing(output, keep=True) as unfinished:
        errors = write_embeddings(ticking(embedder.embed(paths), tick), unfinished)
    report_unreadable(errors)
