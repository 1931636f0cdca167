"""`msde report`: a model file and images in, a worklist with pictures out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import (
    with_answer,
    with_cache,
    with_device,
    with_groups,
    with_identifiers,
    with_output,
    with_paths,
    with_prevalence,
)
from msde.cli.progress import answer, progress, report_unreadable, tell, tell_notes

if TYPE_CHECKING:
    from msde.embedding.cache import EmbeddingCache
    from msde.images.patients import Patients


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...", type=click.Path())
@with_output(required=True, help="HTML file to write.")
@with_paths(
    "--normals",
    help="Normal images to compare with, such as those of the fit; may be repeated. A model file holds none.",
)
@with_paths(
    "--abnormal",
    help="The --abnormal images of the fit: the one most like an image is shown beside the normals, with its kind; may"
    " be repeated.",
)
@with_prevalence
@with_groups
@with_identifiers
@with_device
@with_cache
@with_answer
def report(
    model: Path,
    images: tuple[str, ...],
    output: Path,
    normals: tuple[str, ...],
    abnormal: tuple[str, ...],
    prevalence: float,
    groups: Patients,
    identifiers: bool,
    device: str,
    cache: EmbeddingCache | None,
) -> None:
    """Score images and write a worklist with pictures: one HTML file for any browser, without a network.

    IMAGES and PATH are files, folders (searched recursively) or globs. The file holds small copies of the images and
    their paths below the folder that they have in common: protect it like the images.
    """
    from msde import __version__
    from msde.images import find_images
    from msde.model.anomaly_model import AnomalyModel
    from msde.model.nearest_labelled import NearestLabelled
    from msde.model.nearest_normals import NearestNormals
    from msde.report import make_worklist, write_report
    from msde.storage.atomic import check_writable
    from msde.storage.digests import digest_of

    check_writable(output)
    loaded = AnomalyModel.load(model, cache, device)
    paths, to_compare = find_images(images, tell), find_images(normals, tell) if normals else []
    known = find_images(abnormal, tell) if abnormal else []
    with progress("Scoring", len(paths) + len(to_compare) + len(known), session=loaded.session) as tick:
        labelled = NearestLabelled.embed(loaded, known, tick) if known else None
        compared = NearestNormals.embed(loaded, to_compare, tick) if to_compare else None
        worklist = make_worklist(loaded, paths, compared, labelled=labelled, groups=groups, tick=tick)
    settings = {"Model file": model.name, "SHA-256 of it": digest_of(model), "Made by": f"msde {__version__}"}
    with progress("Drawing", len(worklist.cases)) as tick:
        write_report(worklist, loaded, output, settings, identifiers=identifiers, prevalence=prevalence, tick=tick)
    tell_notes(worklist.notes)
    if labelled is not None and labelled.others:
        tell(
            f"the model did not learn from {len(labelled.others)} of the images of --abnormal, such as"
            f" {labelled.others[0]}; they are not shown"
        )
    if worklist.drift.found:
        tell("these images do not look like the normals that the model is calibrated on; see the report")
    answer(
        {
            "output": str(output),
            "cases": len(worklist.cases),
            "drift": worklist.drift.found,
            "notes": list(worklist.notes),
            "errors": list(worklist.errors),
        }
    )
    report_unreadable(worklist.errors)
