"""Options that several commands share, and their types."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from msde.cli.progress import JSON, QUIET, remark, tell

Command = Callable[..., None]
C = TypeVar("C", Callable[..., None], click.Command)


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


def _remember(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Keep an option in the context, where `msde.cli.progress` finds it; one that was not given changes nothing."""

    def keep(context: click.Context, _: click.Parameter, value: Any) -> None:
        if not value or context.resilient_parsing:
            return
        if key == JSON and value != "-":
            from msde.storage.atomic import check_writable

            check_writable(Path(value))
        context.meta[key] = value

    return keep


def with_answer(command: C) -> C:
    """Add --quiet and --json to a command, which speaks by `say`, `remark` and `answer` of `msde.cli.progress`."""
    quiet = click.option(
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_remember(QUIET),
        help="Say nothing of progress and of what was done; warnings, errors and what is asked for are still printed.",
    )
    as_json = click.option(
        "--json",
        type=click.Path(allow_dash=True),
        is_flag=False,
        flag_value="-",  # of --json alone, at the end or before another option
        metavar="[FILE]",
        expose_value=False,
        callback=_remember(JSON),
        help="Write the result to this file as JSON; without a FILE, print it in place of words.",
    )
    return quiet(as_json(command))


def complete_backbone(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Complete the name of a backbone."""
    from msde.backbones.known import registry

    return [name for name in registry() if name.startswith(begun)]


with_output = partial(click.option, "-o", "--output", type=click.Path(path_type=Path))
with_paths = partial(click.option, multiple=True, metavar="PATH", type=click.Path())

with_backbone = click.option(
    "--backbone",
    "backbones",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_backbone,
    help="Network that embeds the images; may be repeated, for embeddings side by side. `msde backbones` lists them."
    " [default: efficientnet_lite0]",
)

with_look = click.option(
    "--look",
    "looks",
    multiple=True,
    metavar="VIEW:POOLING[:LEVEL]",
    help="How the networks look at an image, such as plain:mean+std or stretched:mean; may be repeated.",
)


def with_rule(command: Command) -> Command:
    """Add --intensity and --aspect to a command: how files become pixels."""
    intensity = click.option(
        "--intensity",
        default="dicom",
        show_default=True,
        metavar="RULE",
        help="What becomes black and white: dicom (as each file asks to be shown), full-range, percentile or"
        " window:LOW,HIGH. Kept in the model.",
    )
    aspect = click.option(
        "--aspect",
        type=click.Choice(["squeeze", "letterbox"]),
        default="squeeze",
        show_default=True,
        help="Squeeze images to a square, or keep their proportions between black bars. Kept in the model.",
    )
    return intensity(aspect(command))


with_checkpoint = click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Local file of the backbone's weights, or the folder with it and its config.json.",
)

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
            for line in lines:
                tell(line)
            remark(cache.summary())

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

with_kinds = click.option(
    "--kinds",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV file with the columns path (of an abnormal image or a folder of them, from the CSV's folder) and kind.",
)

with_seed = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all that is random."
)

with_input_size = click.option(
    "--input-size",
    type=click.IntRange(32, 1024),
    metavar="PX",
    help="Scale images to this side in pixels instead of the network's own: for networks of convolutions, and for"
    " transformers whose positions can be interpolated; needs the extra onnx.",
)

with_workers = click.option(
    "--workers", type=click.IntRange(min=1), help="Processes that work at the same time. [default: all processors]"
)

with_prevalence = click.option(
    "--prevalence",
    type=Rate(),
    default=0.01,
    show_default=True,
    help="Share of abnormal images where the model is used, for the predictive values.",
)
