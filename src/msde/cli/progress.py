"""What the commands say while and after they work: progress on a terminal, warnings on standard error."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from msde.output.words import how_sure

if TYPE_CHECKING:
    from msde.method.calibration import Calibration


@contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[], None]]:
    """Show a bar with the remaining time on standard error while the block runs.

    Yields what is to be called after each step, of `length` in all.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=True, hidden=not terminal) as bar:
        yield lambda: bar.update(1)


def tell(line: str) -> None:
    """Tell how a job goes, or what has come up."""
    click.echo(f"msde: {line}", err=True)


def report_unreadable(errors: Sequence[str]) -> None:
    """List the images that could not be used, and leave with status 3 if there are any."""
    for error in errors:
        click.echo(f"msde: {error}", err=True)
    if errors:
        click.echo(f"msde: {len(errors)} images could not be used", err=True)
        sys.exit(3)


def tell_how_sure(calibration: Calibration, kind: str = "image") -> None:
    """Say how far the false-alarm rate may lie from the target, or that too few normals were held out to flag any."""
    if not math.isinf(calibration.threshold):
        click.echo(how_sure(calibration, kind))
        return
    sure = "" if calibration.confidence is None else f" with a probability of {calibration.confidence:g}"
    from msde.method.calibration import normals_needed

    units = "held-out normals" if calibration.n_units == len(calibration.scores) else "held-out patients or volumes"
    click.echo(
        f"msde: {calibration.n_units} {units} are too few to flag any {kind} at a false-alarm rate of"
        f" {calibration.alpha:g}{sure}; give at least {normals_needed(calibration.alpha, calibration.confidence)} or a"
        " larger --alpha",
        err=True,
    )


def tell_notes(notes: Sequence[str]) -> None:
    """Say what has come up about the patients of images."""
    for note in notes:
        tell(note)
