"""Options that several commands share, and their types."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

Command = Callable[..., None]


class Rate(click.FloatRange):
    """A number strictly between 0 and 1, and not so near either that no false-alarm rate is meant."""

    def __init__(self) -> None:
        super().__init__(0, 1, min_open=True, max_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert, and refuse NaN, which passes any comparison."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("nan is not in the range 0<x<1.", param, ctx)
        from msde.method.calibration import check_rate

        try:
            check_rate(number)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return number


with_device = click.option(
    "--device",
    type=click.Choice(["cpu", "openvino", "cuda"]),
    default="cpu",
    show_default=True,
    envvar="MSDE_DEVICE",
    show_envvar=True,
    help="Where the networks run: the processor, by ONNX Runtime (cpu) or by OpenVINO (openvino, which takes a second"
    " longer to start and needs the extra of its name); or a GPU (cuda), which needs onnxruntime-gpu.",
)

with_identifiers = click.option(
    "--identifiers",
    is_flag=True,
    help="State patient ID, study date and UIDs of DICOM images too. Without it nothing of a file's header is stated.",
)


def with_cache(command: Command) -> Command:
    """Add --cache and --cache-size to a command, hand it an EmbeddingCache or None, and tell what came of the cache."""

    @click.option(
        "--cache",
        "folder",
        type=click.Path(path_type=Path),
        envvar="MSDE_CACHE",
        show_envvar=True,
        metavar="DIR",
        help="Folder where embeddings are kept, so that the same image is embedded once.",
    )
    @click.option(
        "--cache-size",
        type=click.IntRange(min=10),
        default=5000,
        show_default=True,
        metavar="MB",
        help="Size of that folder at which the least recently used embeddings are removed.",
    )
    @wraps(command)
    def cached(*, folder: Path | None, cache_size: int, **arguments: Any) -> None:
        if folder is None:
            return command(cache=None, **arguments)
        from msde.embedding.cache import EmbeddingCache

        lines: list[str] = []
        cache = EmbeddingCache(folder, cache_size * 1_000_000, lines.append)
        try:
            command(cache=cache, **arguments)
        finally:
            for line in [*lines, cache.summary()]:
                click.echo(f"msde: {line}", err=True)

    return cached


def with_groups(command: Command) -> Command:
    """Add --patient and --groups to a command, and hand it the Patients that they make."""

    @click.option(
        "--patient",
        metavar="REGEX",
        help="Regular expression that finds in the path of a file which patient it is of, such as 'TCGA_\\w\\w_\\w+'."
        " Images of a patient are one unit, as are those of a DICOM patient, of a volume, series or slide without it.",
    )
    @click.option(
        "--groups",
        "table",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="CSV file with the columns path (of a file or a folder, from the CSV's folder) and group: images of a"
        " group are of one patient. Goes with --patient; what either joins is joined.",
    )
    @wraps(command)
    def grouped(*, patient: str | None, table: Path | None, **arguments: Any) -> None:
        from msde.cli.progress import tell
        from msde.images.patients import GroupTable, Patients

        groups = Patients(patient, None if table is None else GroupTable.read(table, tell))
        command(groups=groups, **arguments)

    return grouped


with_confidence = click.option(
    "--confidence",
    type=Rate(),
    metavar="P",
    help="Probability, such as 0.9, with which this model's own false-alarm rate is at most --alpha."
    " [default: it is --alpha on average over models]",
)

with_prevalence = click.option(
    "--prevalence",
    type=Rate(),
    default=0.01,
    show_default=True,
    help="Share of abnormal images where the model is used, for the predictive values.",
)
