"""`msde backbones`: the networks that are known by name, and what each needs."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from msde.backbones.known import Entry, registry
from msde.backbones.registry import LOADERS, needs
from msde.errors import BackboneError

COLUMNS = ("name", "modality", "dim", "input", "licence", "gated", "needs")


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Names(click.Group):
    """Takes the name of a backbone for a command that shows it."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        return super().get_command(ctx, cmd_name) or _as_json(click.command(cmd_name)(partial(_show, cmd_name)))


@click.group(cls=_Names, invoke_without_command=True, subcommand_metavar="[NAME | check NAME]")
@_as_json
@click.pass_context
def backbones(context: click.Context, as_json: bool) -> None:
    """List the networks that --backbone knows by name, show all about the one called NAME, or check its weights."""
    if context.invoked_subcommand is not None:
        return
    if as_json:
        click.echo(json.dumps(_known(), indent=2, ensure_ascii=False))
        return
    _table([COLUMNS, *(_row(key, entry) for key, entry in _known().items())])
    click.echo("\n--backbone also takes:")
    for loader in LOADERS.values():
        click.echo(f"  {loader.form}  (pip install 'msde[{loader.extra}]')")


@backbones.command()
@click.argument("name")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Local file of weights, or a folder with them.")
@click.option("--input-size", type=int, metavar="PX", help="Side of the images that the network sees.")
@_as_json
def check(name: str, checkpoint: Path | None, input_size: int | None, as_json: bool) -> None:
    """Load a backbone, verify its weights, size and agreement with the original; tell what it gives and how fast."""
    from msde.backbones.check import inspect

    found = inspect(name, checkpoint, input_size)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
        return
    for key, value in asdict(found).items():
        click.echo(f"{key:12}  {_words(value) or 'none'}")


def _show(name: str, as_json: bool) -> None:
    """Show everything about one backbone."""
    if name not in _known():
        raise BackboneError(f"unknown backbone {name!r}; `msde backbones` lists the known ones")
    if as_json:
        click.echo(json.dumps(_known()[name], indent=2, ensure_ascii=False))
        return
    for key, value in _known()[name].items():
        click.echo(f"{key:12}  {_words(value) or 'none'}")


def _known() -> dict[str, Entry]:
    return {key: {**entry, "needs": needs(entry)} for key, entry in registry().items()}


def _row(name: str, entry: Entry) -> tuple[str, ...]:
    """Return the cells of a backbone."""
    size, gated = f"{entry['input_size']} px", _words(entry["gated"])
    required = _words(entry["needs"]) or "nothing"
    return name, entry["modality"], str(entry["dim"]), size, entry["licence"], gated, required


def _table(rows: list[tuple[str, ...]]) -> None:
    """Print rows with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _words(value: Any) -> str:
    """Write a value of the registry for a reader."""
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return "; ".join(map(str, value))
        case dict():
            return ", ".join(f"{key} = {part}" for key, part in value.items())
    return str(value)
