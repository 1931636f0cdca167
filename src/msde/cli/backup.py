"""`msde serve backup` and `msde serve restore`: all that a service keeps, copied and put back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.data_folder import of_data, opened
from msde.cli.options import with_answer
from msde.cli.progress import answer, say, tell
from msde.output.words import counted

if TYPE_CHECKING:
    from msde.serve.backup import Copied


@click.command()
@click.argument("target", metavar="BACKUP", type=click.Path(path_type=Path, file_okay=False))
@of_data
@with_answer
def backup(target: Path, data: Path, database: str) -> None:
    """Copy database, images, versions of models, users and secrets to a folder, while the service runs.

    Where BACKUP has an earlier copy it is brought up to date: only new images are copied, and deleted ones go.
    """
    with opened(data, database) as (settings, found):
        from msde.serve import backup as copies
        from msde.serve.storage.privacy import keep_private

        keep_private()
        copied = copies.back_up(settings, found, target, "msde serve backup")
    say(f"{target}: {_counted(copied)}, {copied.fresh:,} of them new; the database is copied with them")
    _tell(copied)


@click.command()
@click.argument("source", metavar="BACKUP", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--data",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data folder to make; it may be there, and empty.",
)
@click.option(
    "--database",
    default="",
    envvar="MSDE_DATABASE",
    show_envvar=True,
    help="URL of an empty database. [default: SQLite in DIR]",
)
@with_answer
def restore(source: Path, data: Path, database: str) -> None:
    """Put a backup back, into an empty folder and an empty database; then start the service with them.

    Every file is compared with its digest on the way. Nobody stays signed in.
    """
    from msde.errors import MSDEError

    try:
        from msde.serve import backup as copies
    except ImportError as error:
        raise MSDEError(f"the service needs {error.name}; run `pip install 'msde[serve]'`") from error
    from msde.serve.settings import Settings
    from msde.serve.storage.privacy import keep_private

    keep_private()
    settings = Settings(data=str(data.absolute()), models=(), database=database)
    copied = copies.restore(source, settings, "msde serve restore")
    say(f"{data}: {_counted(copied)} and the database are restored")
    _tell(copied)


def _counted(copied: Copied) -> str:
    return f"{counted(copied.images, 'image')} and {counted(copied.models, 'model version')}"


def _tell(copied: Copied) -> None:
    say(f"the audit log ends with the digest {copied.digest}")
    answer(asdict(copied))
    if copied.missing:
        tell(f"{copied.missing:,} images of the database have no file")
