"""`msde backbones`: the networks that are known by name, and what each needs."""

from __future__ import annotations

import json
from typing import Any

import click

from msde.backbones.known import Entry, registry
from msde.backbones.registry import LOADERS, needs
from msde.errors import BackboneError

COLUMNS = ("name", "modality", "dim", "input", "licence", "gated", "needs")


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backbones(name: str | None, as_json: bool) -> None:
    """List the networks that --backbone knows by name, or everything about the one called NAME."""
    known = {key: {**entry, "needs": needs(entry)} for key, entry in registry().items()}
    if name is not None and name not in known:
        raise BackboneError(f"unknown backbone {name!r}; `msde backbones` lists the known ones")
    if as_json:
        click.echo(json.dumps(known if name is None else known[name], indent=2, ensure_ascii=False))
    elif name is not None:
        for key, value in known[name].items():
            click.echo(f"{key:12}  {_words(value) or 'none'}")
    else:
        _table([COLUMNS, *(_row(key, entry) for key, entry in known.items())])
        click.echo("\n--backbone also takes:")
        for loader in LOADERS.values():
            click.echo(f"  {loader.form}  (pip install 'msde[{loader.extra}]')")


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
