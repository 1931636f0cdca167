"""`msde demo`: the whole job once, on data that need no network or on a folder of the user's."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from msde.cli.options import with_answer, with_output, with_seed
from msde.cli.progress import answer, progress, report_unreadable, say

if TYPE_CHECKING:
    from msde.demo import DemoCase, FewLabels
    from msde.evaluation.evaluation import Evaluation
    from msde.model.anomaly_model import AnomalyModel
    from msde.report import Worklist

SIMULATED = "Simulated lesions; research use only"


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@with_output(default="msde-demo", show_default=True, help="Folder for what is made.")
@with_seed
@click.option(
    "--open/--no-open",
    "show",
    default=None,
    help="Open the report in the browser, or do not. [default: where the command is run at a terminal]",
)
@with_answer
def demo(folder: Path | None, output: Path, seed: int, show: bool | None) -> None:
    """Make a small data set, fit, score and evaluate on it, write a report and draw a picture.

    The data set is simulated from a brain MRI template; its figures say nothing about clinical performance. FOLDER with
    train/normal, test/normal and test/abnormal, is used in its place.
    """
    from msde.demo import compare_few_labels, draw_cases, write_demo_set
    from msde.evaluation.evaluation import evaluate_model
    from msde.images import find_images
    from msde.model.anomaly_model import AnomalyModel
    from msde.model.nearest_normals import NearestNormals
    from msde.output.score_table import write_table
    from msde.report import make_worklist, write_report

    _make(output)
    title = "Research use only"
    if folder is None:
        folder = write_demo_set(output / "data", seed).folder
        title = SIMULATED
        say(f"Made a data set with SIMULATED lesions: {folder}")
    train, normal, abnormal = (
        find_images([folder / part]) for part in ("train/normal", "test/normal", "test/abnormal")
    )
    with TemporaryDirectory(prefix="msde-demo-") as cache:
        model = AnomalyModel(cache=cache)
        with progress("Embedding normals", len(train), model.session) as tick:
            model.fit(train, tick=tick)
        model.save(output / "model.msde")
        n_fitted = model.fingerprint_.n_normals
        say(f"Fitted a model on {n_fitted} of {len(train)} normal images: {output / 'model.msde'}")
        with progress("Scoring", len(normal) + len(abnormal), model.session) as tick:
            normals = NearestNormals.embed(model, train)
            worklist = make_worklist(model, [*normal, *abnormal], normals, tick=tick)
        evaluation = evaluate_model(model, normal, abnormal)
        few = compare_few_labels(model, train, normal, abnormal)
    write_table(evaluation.scores, output / "scores.csv")
    say(f"Scored {len(normal)} normal and {len(abnormal)} abnormal images: {output / 'scores.csv'}")
    figures = _figures(model, evaluation, few)
    for line in figures:
        say(f"  {line}")
    draw_cases(_cases(worklist, evaluation), model, output / "cases.png", title, figures)
    say(f"Drew the most and the least abnormal cases: {output / 'cases.png'}")
    report = output / "report.html"
    write_report(worklist, model, report, {"Made by": "msde demo"})
    say(f"Wrote the worklist with pictures: {report}")
    if show or (show is None and sys.stdout.isatty()):
        click.launch(str(report))
    say("For research use only; not a medical device.")
    answer({"output": str(output), **evaluation.figures()})
    report_unreadable([*model.unreadable_, *evaluation.errors])


def _figures(model: AnomalyModel, evaluation: Evaluation, few: FewLabels | None) -> list[str]:
    """Say how well the classes are told apart, without labels and with a few, and how far false alarms may go."""
    from msde.demo import figures_of
    from msde.output.words import how_sure

    figures = evaluation.figures()
    lines = few.lines() if few else [f"one-class: {figures_of(evaluation)}"]
    if math.isinf(model.calibration_.threshold):
        return [*lines, f"{len(model.calibration_.scores)} normals are too few to flag any image"]
    return [
        *lines,
        f"one-class flags {figures['false_alarm_rate']:.1%} of the normal and {figures['sensitivity']:.1%} of the"
        " abnormal images",
        how_sure(model.calibration_),
    ]


def _cases(worklist: Worklist, evaluation: Evaluation) -> list[DemoCase]:
    """Return the worklist's cases with their truth."""
    import numpy as np

    from msde.demo import DemoCase
    from msde.report.worklist import MOST_HEAT

    truth = {score.path: bool(label) for score, label in zip(evaluation.scores, evaluation.abnormal, strict=True)}
    cases = []
    for case in worklist.cases:
        if not case.pictures:
            continue
        highest = case.pictures[0]
        heat = None if highest.heat is None else highest.heat.astype(np.float32) / np.float32(MOST_HEAT)
        alike = worklist.normals.sources[highest.alike[0]] if worklist.normals and highest.alike else None
        cases.append(DemoCase(case.score, highest.score, truth[case.score.path], heat, alike))
    return cases


def _make(output: Path) -> None:
    from msde.errors import OutputError

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made: {error.strerror}; choose another folder with -o") from error
