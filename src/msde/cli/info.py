"""`msde info`: what a model file holds."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
def info(model: Path) -> None:
    """Tell what a model file holds, as JSON: backbone, training set, calibration, versions."""
    from msde.model.anomaly_model import AnomalyModel

    description = AnomalyModel.load(model).info()
    click.echo(json.dumps({"file_bytes": model.stat().st_size, **description}, indent=2))
