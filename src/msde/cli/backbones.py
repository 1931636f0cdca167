"""`msde backbones`: the networks that are known by name, and what each needs."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from msde.backbones.known import Entry, registry
from msde.backbones.registry import LOADERS, needs
from msde.cli.options import with_answer, with_checkpoint, with_input_size
from msde.cli.progress import answer
from msde.errors import BackboneError

COLUMNS = ("name", "modality", "dim", "input", "licence", "gated", "needs")


class _Names(click.Group):
    """Takes the name of a backbone for a command that shows it."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        return super().get_command(ctx, cmd_name) or with_answer(click.command(cmd_name)(partial(_show, cmd_name)))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List what may stand here, for the completion of shells."""
        return [*super().list_commands(ctx), *registry()]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List no names in the help, where they are too many."""


@click.group(cls=_Names, invoke_without_command=True, subcommand_metavar="[NAME | check NAME]")
@with_answer
@click.pass_context
def backbones(context: click.Context) -> None:
    """List the networks that --backbone knows by name, show all about the one called NAME, or check its weights."""
    if context.invoked_subcommand is not None:
        return
    rows = _table([COLUMNS, *(_row(key, entry) for key, entry in _known().items())])
    forms = [f"  {loader.form}  (pip install 'msde[{loader.extra}]')" for loader in LOADERS.values()]
    answer(_known(), [*rows, "", "--backbone also takes:", *forms])


@backbones.command()
@click.argument("name")
@with_checkpoint
@with_input_size
@with_answer
def check(name: str, checkpoint: Path | None, input_size: int | None) -> None:
    """Load a backbone, verify its weights, size and agreement with the original; tell what it gives and how fast."""
    from msde.backbones.check import inspect

    found = asdict(inspect(name, checkpoint, input_size))
    answer(found, _lines(found))


def _show(name: str) -> None:
    """Show everything about one backbone."""
    if name not in _known():
        raise BackboneError(f"unknown backbone {name!r}; `msde backbones` lists the known ones")
    answer(_known()[name], _lines(_known()[name]))


def _lines(facts: Entry) -> list[str]:
    return [f"{key:12}  {_words(value) or 'none'}" for key, value in facts.items()]


def _known() -> dict[str, Entry]:
    return {key: {**entry, "needs": needs(entry)} for key, entry in registry().items()}


def _row(name: str, entry: Entry) -> tuple[str, ...]:
    """Return the cells of a backbone."""
    size, gated = f"{entry['input_size']} px", _words(entry["gated"])
    required = _words(entry["needs"]) or "nothing"
    return name, entry["modality"], str(entry["dim"]), size, entry["licence"], gated, required


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


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
