"""`msde fit`: normal images in, a model file out."""

from __future__ import annotations

import math
from pathlib import Path

import click

from msde.cli.progress import progress, report_unreadable


@click.command()
@click.argument("normals", nargs=-1, required=True, metavar="NORMALS...")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Model file to write.")
@click.option("--backbone", default="efficientnet_lite0", show_default=True, help="Network that embeds the images.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Local file with the backbone's weights.")
@click.option(
    "--mode",
    type=click.Choice(["inductive", "transductive"]),
    default="inductive",
    show_default=True,
    help="Score each image alone, or the batch together with the normals (the published procedure).",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Target false-alarm rate: the expected share of normal images that is flagged.",
)
def fit(
    normals: tuple[str, ...], output: Path, backbone: str, checkpoint: Path | None, mode: str, alpha: float
) -> None:
    """Learn what normal images look like and write a model file.

    NORMALS are files, folders (searched recursively) or globs of normal images.
    """
    from msde.backbones import load_backbone
    from msde.bundle import check_writable
    from msde.estimators.detector import MSDEDetector
    from msde.images import find_images
    from msde.pipeline import AnomalyModel

    check_writable(output)
    paths = find_images(normals)
    detector = MSDEDetector(mode=mode, alpha=alpha)  # type: ignore[arg-type]
    model = AnomalyModel(load_backbone(backbone, checkpoint), detector)
    with progress("Embedding normals", len(paths)) as tick:
        model.fit(paths, tick=tick)
    model.save(output)
    click.echo(f"{output}: fitted on {len(paths) - len(model.unreadable_)} normal images")
    calibration = model.calibration_
    if calibration.threshold == float("inf"):
        click.echo(
            f"msde: {len(calibration.scores)} normals are too few to flag any image at a false-alarm rate of {alpha:g};"
            f" give at least {math.ceil(1 / alpha - 1e-9) - 1} or raise --alpha to {calibration.resolution:.3g}",
            err=True,
        )
    report_unreadable(model.unreadable_)
