"""`msde demo`: the whole job once, on data that need no network or on a folder of the user's."""

from __future__ import annotations

from pathlib import Path

import click

from msde.cli.options import with_answer, with_output, with_seed
from msde.cli.progress import answer, progress, report_unreadable, say


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@with_output(default="msde-demo", show_default=True, help="Folder for what is made.")
@with_seed
@with_answer
def demo(folder: Path | None, output: Path, seed: int) -> None:
    """Make a small data set, fit, score and evaluate on it, and draw a picture.

    The data set is simulated from a brain MRI template; its figures say nothing about clinical performance. FOLDER with
    train/normal, test/normal and test/abnormal, is used in its place.
    """
    from msde.demo.picture import DemoCase, draw_cases
    from msde.demo.slices import write_demo_set
    from msde.evaluation.evaluation import evaluate_model
    from msde.images import find_images
    from msde.model.anomaly_model import AnomalyModel
    from msde.output.score_table import write_table

    _make(output)
    title = "Research use only"
    if folder is None:
        folder = write_demo_set(output / "data", seed).folder
        title = "Simulated lesions; research use only"
        say(f"Made a data set with SIMULATED lesions: {folder}")
    train, normal, abnormal = (
        find_images([folder / part]) for part in ("train/normal", "test/normal", "test/abnormal")
    )
    model = AnomalyModel()
    with progress("Embedding normals", len(train), model.session) as tick:
        model.fit(train, tick=tick)
    model.save(output / "model.msde")
    n_fitted = model.fingerprint_.n_normals
    say(f"Fitted a model on {n_fitted} of {len(train)} normal images: {output / 'model.msde'}")
    with progress("Scoring", len(normal) + len(abnormal), model.session) as tick:
        evaluation = evaluate_model(model, normal, abnormal, tick=tick)
    write_table(evaluation.scores, output / "scores.csv")
    say(f"Scored {len(normal)} normal and {len(abnormal)} abnormal images: {output / 'scores.csv'}")
    for line in evaluation.summary():
        say(f"  {line}")
    cases = [
        DemoCase(Path(score.path), score.anomaly_score, score.p_value, bool(truth))
        for score, truth in zip(evaluation.scores, evaluation.abnormal, strict=True)
    ]
    draw_cases(cases, output / "cases.png", title)
    say(f"Drew the most and the least abnormal cases: {output / 'cases.png'}")
    say("For research use only; not a medical device.")
    answer({"output": str(output), **evaluation.figures()})
    report_unreadable([*model.unreadable_, *evaluation.errors])


def _make(output: Path) -> None:
    from msde.errors import OutputError

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made: {error.strerror}; choose another folder with -o") from error
