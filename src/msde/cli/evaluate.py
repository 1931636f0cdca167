"""`msde evaluate`: a model file and labelled images in, AUROC and average precision out, of heat maps too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import with_answer, with_cache, with_device, with_groups, with_paths, with_prevalence
from msde.cli.progress import answer, progress, report_unreadable, tell, tell_notes

if TYPE_CHECKING:
    from msde.embedding.cache import EmbeddingCache
    from msde.images.patients import Patients


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@with_paths("--normal", required=True, help="Normal images; may be repeated.")
@with_paths(
    "--abnormal",
    required=True,
    help="Abnormal images; may be repeated.",
)
@with_paths(
    "--masks",
    help="Masks of abnormal images, 0 where normal and 255 or 1 where not, each named like its image but for the"
    " suffix; may be repeated. Measures the heat maps.",
)
@with_prevalence
@with_groups
@with_device
@with_cache
@with_answer
def evaluate(
    model: Path,
    normal: tuple[str, ...],
    abnormal: tuple[str, ...],
    masks: tuple[str, ...],
    prevalence: float,
    groups: Patients,
    device: str,
    cache: EmbeddingCache | None,
) -> None:
    """Measure how well a model tells normal from abnormal images it was not trained on.

    A PATH is a file, a folder (searched recursively) or a glob. With --masks also how well heat maps find what is
    abnormal: AUROC and average precision of single pixels, and AUPRO, the overlap with each marked region. All pixels
    of normal images count as normal; abnormal images without a mask are left out of these.
    """
    from msde.evaluation.evaluation import evaluate_model
    from msde.images import find_images
    from msde.model.anomaly_model import AnomalyModel

    loaded = AnomalyModel.load(model, cache, device)
    normals, abnormals = find_images(normal, tell), find_images(abnormal, tell)
    with progress("Scoring", len(normals) + len(abnormals), session=loaded.session) as tick:
        evaluation = evaluate_model(
            loaded, normals, abnormals, masks=masks, groups=groups, prevalence=prevalence, tick=tick
        )
    tell_notes(evaluation.notes)
    answer(evaluation.figures(), evaluation.summary())
    if evaluation.n_seen_in_training:
        seen = evaluation.n_seen_in_training
        tell(f"{seen} of these images took part in the fit; leave them out")
    report_unreadable(evaluation.errors)
