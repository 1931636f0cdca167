"""Progress on a terminal, silence in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click


@contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[], None]]:
    """Show a bar with the remaining time on standard error while the block runs.

    Parameters
    ----------
    label : str
        What is going on.
    length : int
        Steps in all.

    Yields
    ------
    callable
        To be called after each step.
    """
    terminal = sys.stderr.isatty()
    with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=True, hidden=not terminal) as bar:
        yield lambda: bar.update(1)


def report_unreadable(errors: Sequence[str]) -> None:
    """List the images that could not be used, and leave with status 3 if there are any."""
    for error in errors:
        click.echo(f"msde: {error}", err=True)
    if errors:
        click.echo(f"msde: {len(errors)} images could not be used; the others were", err=True)
        sys.exit(3)
