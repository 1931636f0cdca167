"""The options of commands that can run on a Ray cluster."""

from __future__ import annotations

from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from msde.cli.options import Command, with_workers
from msde.cli.progress import answer, say, tell

if TYPE_CHECKING:
    from msde.cluster.driver import Summary


def with_ray(command: Command) -> Command:
    """Add --ray and its companions to a command, and hand it a Cluster or None."""

    @click.option(
        "--ray",
        "address",
        metavar="ADDRESS|local",
        envvar="MSDE_RAY",
        show_envvar=True,
        help="Work on a Ray cluster: the address of its head node, or local for the processors of this machine."
        " Inputs may then also be manifests (.csv or .parquet with a column path or uri) and addresses such as"
        " s3://bucket/folder/.",
    )
    @click.option(
        "--parts",
        metavar="DIR|ADDRESS",
        help="Folder for the results of --ray, one Parquet file a part, where all nodes can write. The same command"
        " with the same folder goes on with an interrupted job. [default: FILE.parts beside the FILE of -o]",
    )
    @with_workers
    @click.option(
        "--gpus",
        type=click.FloatRange(min=0),
        default=0,
        show_default=True,
        help="GPUs of each worker with --ray, such as 1 or 0.25; needs onnxruntime-gpu.",
    )
    @click.option(
        "--part-rows",
        type=click.IntRange(min=1),
        default=1000,
        show_default=True,
        help="Images a part with --ray: what a worker that dies has to do again.",
    )
    @wraps(command)
    def clustered(
        *, address: str | None, parts: str | None, workers: int | None, gpus: float, part_rows: int, **arguments: Any
    ) -> None:
        if address is None:
            return command(cluster=None, **arguments)
        if parts is None and arguments["output"] is None:
            raise click.UsageError("--ray needs -o, the file for its results, or --parts, a folder for them")
        from msde.cluster.cluster import Cluster, check_libraries

        check_libraries()
        folder = f"{arguments['output']}.parts" if parts is None else parts
        return command(cluster=Cluster(folder, address, workers, gpus, part_rows), **arguments)

    return clustered


def refuse_with_ray(**given: object) -> None:
    """Refuse options that do not go with --ray: raise click.UsageError for the first of them that was given."""
    for name, value in given.items():
        if value:
            raise click.UsageError(f"--{name.replace('_', '-')} does not go with --ray")


def report(summary: Summary, parts: str, output: Path | None) -> None:
    """Say what a job took, and leave with status 3 if images could not be used."""
    for line in summary.lines():
        say(f"{parts}: {line}")
    if output is not None:
        say(f"{output}: {summary.rows} rows")
    answer({"output": output and str(output), "parts": parts, **asdict(summary)})
    if summary.errors:
        tell(f"{sum(summary.errors.values())} images could not be used; see the column error")
        raise click.exceptions.Exit(3)
