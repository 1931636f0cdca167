"""`msde calibrate`: p-values and threshold for a new place, from normals of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import Rate, with_answer, with_cache, with_confidence, with_device, with_groups, with_output
from msde.cli.progress import answer, progress, report_unreadable, say, tell, tell_how_sure, tell_notes

if TYPE_CHECKING:
    from msde.embedding.cache import EmbeddingCache
    from msde.images.patients import Patients


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("normals", nargs=-1, required=True, metavar="NORMALS...", type=click.Path())
@with_output(required=True, help="Model file to write.")
@click.option(
    "--alpha",
    type=Rate(),
    help="Target false-alarm rate. [default: the model's]",
)
@with_confidence
@with_groups
@with_device
@with_cache
@with_answer
def calibrate(
    model: Path,
    normals: tuple[str, ...],
    output: Path,
    alpha: float | None,
    confidence: float | None,
    groups: Patients,
    device: str,
    cache: EmbeddingCache | None,
) -> None:
    """Set p-values and threshold anew on normals of the place where the model is used.

    Nothing is fitted again; scores stay as they are. NORMALS are files, folders (searched recursively) or globs of
    normal images that the model was not fitted on, of other patients; 100 patients and more are advised.
    """
    from msde.errors import ModelFileError
    from msde.images import find_images
    from msde.model.anomaly_model import AnomalyModel
    from msde.storage.atomic import check_writable

    check_writable(output, ModelFileError)
    loaded = AnomalyModel.load(model, cache, device)
    paths = find_images(normals, tell)
    with progress("Scoring normals", len(paths), session=loaded.session) as tick:
        loaded.calibrate(paths, alpha, groups=groups, confidence=confidence, tick=tick)
    loaded.save(output)
    calibration = loaded.calibration_
    say(f"{output}: calibrated on {len(calibration.scores)} normal images, threshold {calibration.threshold:.4g}")
    tell_notes(loaded.notes_)
    tell_how_sure(calibration)
    if loaded.volumes_ is not None:
        say(f"and on {len(loaded.volumes_.scores)} volumes, threshold {loaded.volumes_.threshold:.4g}")
        tell_how_sure(loaded.volumes_, "volume")
    if loaded.patients_ is not None:
        say(f"and on {loaded.patients_.n_patients} patients, for one p-value of all images of a patient")
    answer(
        {
            "output": str(output),
            "calibration": loaded.info()["calibration"],
            "notes": list(loaded.notes_),
            "errors": loaded.unreadable_,
        }
    )
    report_unreadable(loaded.unreadable_)
