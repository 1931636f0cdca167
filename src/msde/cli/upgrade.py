"""`msde upgrade`: model files of older versions in, the same models in the present format out."""

from __future__ import annotations

import os
from pathlib import Path

import click

from msde.cli.options import with_answer, with_output
from msde.cli.progress import answer, say


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=click.Path(path_type=Path))
@with_output(help="File to write instead, of one MODEL. [default: MODEL, whose old file stays as MODEL.format-N]")
@with_answer
def upgrade(models: tuple[Path, ...], output: Path | None) -> None:
    """Rewrite model files of older versions in the present format.

    Models score as they did, and a file of the present format is left as it is. Older formats are read without this
    too; it is for when a version says that it will be the last to read one.
    """
    if output is not None and len(models) > 1:
        raise click.UsageError("-o takes one MODEL")
    done = [_upgraded(model, output or model) for model in models]
    answer({"models": done})


def _upgraded(model: Path, output: Path) -> dict[str, str | int]:
    """Rewrite one file, and say so."""
    from msde.errors import ModelFileError
    from msde.model.file import read_model, write_model
    from msde.storage.bundle import FORMAT_VERSION, format_version

    before = format_version(model)
    figures: dict[str, str | int] = {"model": str(model), "format": before, "output": str(output)}
    if before == FORMAT_VERSION and output == model:
        say(f"{model}: is of format {before} already")
        return figures
    fitted, _ = read_model(model)
    if output == model:
        kept = model.with_name(f"{model.name}.format-{before}")
        try:
            os.link(model, kept)  # the name stays in use until the new file takes it
        except FileExistsError:
            raise ModelFileError(f"{kept}: is there already; move it away, or give another file with -o") from None
        except OSError as error:
            raise ModelFileError(f"{kept}: cannot be written ({error.strerror}); give another file with -o") from error
    write_model(fitted, output)
    say(f"{output}: format {FORMAT_VERSION}, was {before}" + (f"; the old file is {kept}" if output == model else ""))
    return figures
