"""`msde export`: a model file in, its scoring path as an ONNX graph out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from msde.cli.options import with_answer, with_output, with_paths
from msde.cli.progress import answer, say, tell


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@with_output(required=True, metavar="DIR", help="Folder for model.onnx, config.json and README.md.")
@with_paths(
    "--images",
    help="Images to compare graph and model on, beside pictures that are made for it; may be repeated.",
)
@with_answer
def export(model: Path, output: Path, images: tuple[str, ...]) -> None:
    """Write a model's whole scoring path as one ONNX graph: pixels in, anomaly score, p-value and flag out.

    The graph is compared with the model before it is written. It begins where an image is pixels in the network's size;
    config.json says how these are made. Models of transductive mode have no such graph. Needs the extra onnx.
    """
    from msde.images import find_images
    from msde.model.anomaly_model import AnomalyModel
    from msde.output.onnx_export import GRAPH, export_onnx
    from msde.storage.digests import digest_of

    loaded = AnomalyModel.load(model)
    source = {"name": model.stem, "sha256": digest_of(model)}
    parity = export_onnx(loaded, output, source, find_images(images, tell) if images else ())
    say(
        f"{output / GRAPH}: scores within {parity.relative_difference:.1e} of the model's on {parity.images} images,"
        f" {parity.p_values_that_differ} p-values differ"
    )
    answer({"output": str(output), **asdict(parity)})
