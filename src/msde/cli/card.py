"""`msde card`: a model file in, a model card out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from msde.cli.options import with_answer, with_output
from msde.cli.progress import answer


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@with_output(help="File to write, such as README.md. [default: print it]")
@click.option(
    "--evaluation",
    "evaluations",
    multiple=True,
    metavar="NAME=FILE",
    help="Figures of a data set, as `msde evaluate --json FILE` wrote them; may be repeated.",
)
@click.option("--name", help="Name of the model. [default: that of the file]")
@with_answer
def card(model: Path, output: Path | None, evaluations: tuple[str, ...], name: str | None) -> None:
    """Write a model card in the format of the Hugging Face hub.

    It says what the model does, what it was fitted on, how it is calibrated, what was measured, and its limits. What a
    model file cannot know, such as whose images these are, is left to be filled in.
    """
    from msde.errors import DataError
    from msde.model.anomaly_model import AnomalyModel
    from msde.output.model_card import model_card
    from msde.output.score_table import write_lines

    figures = {}
    for entry in evaluations:
        set_name, equals, file = entry.partition("=")
        if not (set_name and equals and file):
            raise click.UsageError(f"--evaluation {entry}: is not NAME=FILE")
        try:
            figures[set_name] = json.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{file}: cannot be read as JSON ({error}); give a file of `msde evaluate --json`"
            ) from error
    lines = list(model_card(AnomalyModel.load(model).info(), name or model.stem, figures))
    if output is not None:
        write_lines(lines, output)
    answer({"output": output and str(output), "card": "\n".join(lines)}, lines if output is None else ())
