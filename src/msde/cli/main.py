"""The `msde` command: finds the subcommand, turns the package's errors into one line and an exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

import click

from msde import __version__
from msde.errors import MSDEError
from msde.output.words import printable

# Command -> what it does. Each lives in the file of its name and is imported when it is asked for.
COMMANDS = {
    "backbones": "List the networks known by name, and what each needs.",
    "benchmark": "Measure detectors side by side on labelled sets, as a TOML file says.",
    "calibrate": "Set p-values and threshold anew on normals of the place where the model is used.",
    "card": "Write a model card in the format of the Hugging Face hub.",
    "completion": "Print what completes commands and options in a shell.",
    "data": "Look over a labelled data set, or fetch a public one.",
    "demo": "Make a small data set, fit, score and evaluate on it, and draw a picture.",
    "embed": "Write the embeddings of images to a table.",
    "evaluate": "Measure how well a model tells normal from abnormal images.",
    "export": "Write a model's whole scoring path as one ONNX graph.",
    "fit": "Learn what normal images look like and write a model file.",
    "info": "Tell what a model file holds.",
    "learn": "Fit a model again to what readers have confirmed, and tell what that changes.",
    "pretrain": "Train a network on normals and synthetic anomalies of them, to use as a backbone.",
    "report": "Score images and write a worklist with pictures, one HTML file.",
    "score": "Score images with a model file.",
    "serve": "Serve models: a page for readers and a REST interface.",
    "upgrade": "Rewrite model files of older versions in the present format.",
}


class Commands(click.Group):
    """The subcommands, imported on demand so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"msde.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=Commands,
    epilog="Exit status: 0 all done; 1 the job failed; 2 bad usage; 3 done, but some images could not be read.",
)
@click.version_option(__version__)
def msde() -> None:
    """Find the image that is not like the normal ones.

    For research use only; not a medical device.
    """


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, TextIOWrapper):  # as standard error does, for a file's name may not fit the encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _notes_shown():
            msde(prog_name="msde")
    except MSDEError as error:
        _leave(str(error))
    except MemoryError:
        _leave("out of memory; give fewer or smaller images, or a machine with more memory")
    except KeyboardInterrupt:
        _leave("interrupted")
    except OSError as error:
        if error.filename is None:  # what standard output could not take would fail again at the interpreter's end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _leave(f"{error.filename or 'standard output'}: {error.strerror or error}")


@contextmanager
def _notes_shown() -> Iterator[None]:
    """Print what reading an image notes of it, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("msde: %(image)s: %(message)s"))
    notes = logging.getLogger("msde.images")
    before = notes.propagate
    notes.addHandler(handler)
    notes.propagate = False
    try:
        yield
    finally:
        notes.removeHandler(handler)
        notes.propagate = before


def _leave(reason: str) -> NoReturn:
    click.echo(f"msde: {printable(reason)}", err=True)  # a file's name may hold a line break
    sys.exit(1)
