"""What the commands say: progress and warnings on standard error, what was done and results on standard output."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from msde.output.words import how_sure

if TYPE_CHECKING:
    from msde.embedding.encoder import EncoderSession
    from msde.method.calibration import Calibration

Tick = Callable[[], None]

QUIET, JSON = "msde.quiet", "msde.json"
"""Where a command's context keeps what --quiet and --json say."""

LONG = 600
"""Seconds from which on a job is long enough to be told of before it starts."""
FEW = 10
"""Images for which it is not worth a pass to know."""
QUICKER = 224
"""Side in pixels of the images that a network of larger ones may be given instead."""


@contextmanager
def progress(label: str, length: int, session: EncoderSession | None = None) -> Iterator[Tick]:
    """Show a bar with the remaining time on standard error while the block runs.

    Yields what is to be called after each step, of `length` in all. With the session that is to embed images, the bar
    shows images a second too, and a job that will be long is told of first.
    """
    if session is not None and not quiet():
        tell_if_long(session, length)
    shown = sys.stderr is not None and sys.stderr.isatty() and not quiet()
    with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=True, hidden=not shown) as bar:
        start = time.monotonic()

        def tick() -> None:
            if session is not None and (seconds := time.monotonic() - start):
                bar.label = f"{label} {(bar.pos + 1) / seconds:.3g} images/s"
            bar.update(1)

        yield tick


def tell_if_long(session: EncoderSession, n_images: int) -> None:
    """Say that a job will take more than ten minutes, and at which size of the images it would be faster."""
    if n_images <= FEW or session.expected_seconds(n_images) <= LONG:
        return
    seconds = session.expected_seconds(n_images)  # the first pass of a session takes longer
    if seconds <= LONG:
        return
    size = max(session.encoder.input_sizes)
    remedy = f"; a model fitted with --input-size {QUICKER} would take some {seconds * (QUICKER / size) ** 2 / 60:.0f}"
    tell(
        f"{n_images} images will take some {seconds / 60:.0f} minutes ({n_images / seconds:.2g} images/s at"
        f" {size} x {size} pixels{remedy if size > QUICKER else ''}), less what is in a cache"
    )


def tell(line: str) -> None:
    """Tell what has come up, on standard error."""
    click.echo(f"msde: {line}", err=True)


def remark(line: str) -> None:
    """Tell how a job goes, on standard error; not with --quiet."""
    if not quiet():
        tell(line)


def say(line: str) -> None:
    """Say what was done, on standard output; not with --quiet, nor where JSON goes there."""
    if not quiet() and not json_is_printed():
        click.echo(line)


def answer(figures: Mapping[str, Any], lines: Iterable[str] = ()) -> None:
    """Give a command's result: in words on standard output, and as JSON where --json asks for it.

    Parameters
    ----------
    figures : mapping
        The result for programs.
    lines : iterable of str, optional
        The same for people, of a command whose result is what it prints; --quiet does not silence it.
    """
    from msde.output.score_table import as_json, write_json

    if json_is_printed():
        click.echo(as_json(figures), nl=False)
        return
    for line in lines:
        click.echo(line)
    if _asked(JSON) is not None:
        write_json(figures, _asked(JSON))


def quiet() -> bool:
    """Return whether the command was asked to say only what it has to."""
    return bool(_asked(QUIET))


def json_is_printed() -> bool:
    """Return whether the result is to be printed as JSON."""
    return bool(_asked(JSON) == "-")


def _asked(what: str) -> Any:
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(what)


def report_unreadable(errors: Sequence[str]) -> None:
    """List the images that could not be used, and leave with status 3 if there are any."""
    for error in errors:
        tell(error)
    if errors:
        tell(f"{len(errors)} images could not be used")
        sys.exit(3)


def tell_how_sure(calibration: Calibration, kind: str = "image") -> None:
    """Say how far the false-alarm rate may lie from the target, or that too few normals were held out to flag any."""
    if not math.isinf(calibration.threshold):
        say(how_sure(calibration, kind))
        return
    sure = "" if calibration.confidence is None else f" with a probability of {calibration.confidence:g}"
    from msde.method.calibration import normals_needed

    units = "held-out normals" if calibration.n_units == len(calibration.scores) else "held-out patients or volumes"
    tell(
        f"{calibration.n_units} {units} are too few to flag any {kind} at a false-alarm rate of {calibration.alpha:g}"
        f"{sure}; give at least {normals_needed(calibration.alpha, calibration.confidence)} or a larger --alpha"
    )


def tell_notes(notes: Sequence[str]) -> None:
    """Say what has come up about the patients of images."""
    for note in notes:
        tell(note)
