"""`msde calibrate`: p-values and threshold for a new place, from a few dozen of its normals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import Rate, with_cache, with_device
from msde.cli.progress import progress, report_unreadable, tell, warn_of_few_normals

if TYPE_CHECKING:
    from msde.embedding.cache import EmbeddingCache


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("normals", nargs=-1, required=True, metavar="NORMALS...")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Model file to write.")
@click.option(
    "--alpha",
    type=Rate(),
    help="Target false-alarm rate. [default: the model's]",
)
@with_device
@with_cache
def calibrate(
    model: Path,
    normals: tuple[str, ...],
    output: Path,
    alpha: float | None,
    device: str,
    cache: EmbeddingCache | None,
) -> None:
    """Set p-values and threshold anew on normals of the place where the model is used.

    Nothing is fitted again; scores stay as they are. NORMALS are files, folders (searched recursively) or globs of
    normal images that the model was not fitted on.
    """
    from msde.errors import ModelFileError
    from msde.images import find_images
    from msde.model.anomaly_model import AnomalyModel
    from msde.storage.atomic import check_writable

    check_writable(output, ModelFileError)
    loaded = AnomalyModel.load(model, cache, device)
    paths = find_images(normals, tell)
    with progress("Scoring normals", len(paths)) as tick:
        loaded.calibrate(paths, alpha, tick=tick)
    loaded.save(output)
    calibration = loaded.calibration_
    click.echo(
        f"{output}: calibrated on {len(calibration.scores)} normal images, threshold {calibration.threshold:.4g}"
    )
    if loaded.volumes_ is not None:
        click.echo(f"and on {len(loaded.volumes_.scores)} volumes, threshold {loaded.volumes_.threshold:.4g}")
    warn_of_few_normals(calibration)
    report_unreadable(loaded.unreadable_)
