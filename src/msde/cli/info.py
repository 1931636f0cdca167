"""`msde info`: what a model file holds."""

from __future__ import annotations

from pathlib import Path

import click

from msde.cli.options import with_answer
from msde.cli.progress import answer


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@with_answer
def info(model: Path) -> None:
    """Tell what a model file holds, as JSON: backbone, training set, calibration, versions."""
    from msde.model.anomaly_model import AnomalyModel
    from msde.output.score_table import as_json
    from msde.storage.bundle import format_version

    description = AnomalyModel.load(model).info()
    figures = {"file_bytes": model.stat().st_size, "format": format_version(model), **description}
    answer(figures, [as_json(figures).rstrip()])
