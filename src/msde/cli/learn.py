"""`msde learn`: a model file and readers' verdicts in, a model that has learnt from them out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import with_answer, with_cache, with_device, with_groups, with_output, with_paths
from msde.cli.progress import answer, progress, report_unreadable, say, tell, tell_how_sure, tell_notes

if TYPE_CHECKING:
    from msde.embedding.cache import EmbeddingCache
    from msde.images.patients import Patients


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@with_output(required=True, help="Model file to write.")
@click.option(
    "--verdicts",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV file of verdicts, as the service exports it.",
)
@with_paths(
    "--images",
    required=True,
    help="Images that came in, with verdicts and without; may be repeated. Found by their content, whatever the name.",
)
@with_paths(
    "--normals",
    required=True,
    help="Normals that MODEL was fitted on, which its file does not hold; may be repeated.",
)
@with_paths(
    "--abnormal",
    help="Images that MODEL was fitted on by --abnormal, not to forget them; may be repeated.",
)
@with_groups
@with_device
@with_cache
@with_answer
def learn(
    model: Path,
    output: Path,
    verdicts: Path,
    images: tuple[str, ...],
    normals: tuple[str, ...],
    abnormal: tuple[str, ...],
    groups: Patients,
    device: str,
    cache: EmbeddingCache | None,
) -> None:
    """Fit a model again to its normals and to what readers have confirmed, and tell what that changes.

    Networks, looks and heat maps stay. Images called abnormal are labelled as by `msde fit --abnormal`, those called
    normal are normals. What is told is cross-validated over patients: look at it before the new model is used.
    """
    from msde.errors import ModelFileError
    from msde.evaluation.comparison import compare, p_values_of_unseen
    from msde.images import find_images
    from msde.model.anomaly_model import AnomalyModel
    from msde.model.retraining import gather
    from msde.model.verdicts import Verdicts, by_digest
    from msde.storage.atomic import check_writable

    check_writable(output, ModelFileError)
    said = Verdicts.read(verdicts)
    loaded = AnomalyModel.load(model, cache, device)
    before, labelled = find_images(normals, tell), find_images(abnormal, tell) if abnormal else None
    came = by_digest(find_images(images, tell))
    judged = said.among(came, ", ".join(images))
    tell_notes(said.left_out(came))
    rest = [path for path in came.values() if path not in judged]
    with progress("Embedding", len(before) + len(labelled or ()) + len(judged) + len(rest)) as tick:
        retraining = gather(loaded, before, judged, groups, labelled, tick)
        others = p_values_of_unseen(loaded, rest, tick) if rest else None
    tell_notes(retraining.notes)
    fitted, report = retraining.fit()
    tell_notes(report.notes)
    looked_at = {str(came[image]): p_value for image, p_value in said.p_values.items() if image in came}
    with progress("Comparing", len(retraining.folds())) as tick:
        comparison = compare(retraining, looked_at, others, tick=tick)
    for line in comparison.summary():
        say(line)
    tell_notes(comparison.notes)
    changed = AnomalyModel.of(fitted, loaded.session)
    changed.save(output)
    say(f"{output}: fitted on {fitted.fingerprint.n_normals} normal images")
    if fitted.labels is not None:
        say(f"and on {fitted.labels.in_words()}")
    tell_how_sure(fitted.images)
    answer(comparison.figures())
    report_unreadable(retraining.unreadable)
