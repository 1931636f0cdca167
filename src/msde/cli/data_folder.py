"""What is done to the data folder of `msde serve` beside serving: the audit log is verified, pictures are purged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import with_answer
from msde.cli.progress import answer, say
from msde.errors import MSDEError

if TYPE_CHECKING:
    from msde.serve.settings import Settings
    from msde.serve.storage.database import Database

Command = Callable[..., None]
_SECONDS = {"d": 86_400, "h": 3_600}


def of_data(command: Command) -> Command:
    """Add the options that say which folder and database."""
    command = click.option(
        "--database", default="", envvar="MSDE_DATABASE", show_envvar=True, help="URL. [default: SQLite in DIR]"
    )(command)
    return click.option(
        "--data",
        required=True,
        metavar="DIR",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Data folder of the service, which may run meanwhile.",
    )(command)


@click.group()
def audit() -> None:
    """Verify the record of who sent, saw and decided what."""


@audit.command()
@of_data
@click.option("--noted", metavar="DIGEST", help="Digest of a line that was noted before: it has to be there still.")
@with_answer
def verify(data: Path, database: str, noted: str | None) -> None:
    """Check that no line of the audit log was altered, put in or taken out; print the digest of the last one.

    Lines taken off the end leave no gap: note the digest elsewhere, and give it with --noted at the next time. The
    service's own log has it at each start and every hour.
    """
    with opened(data, database) as (_, found):
        from msde.serve.storage import audit_chain

        with found.read() as session:
            chain = audit_chain.verify(session, noted)
    answer(
        {"lines": chain.lines, "digest": chain.digest},
        [f"{chain.lines} lines, unbroken; the last has the digest {chain.digest}"],
    )


def as_seconds(_: click.Context, __: click.Parameter, period: str) -> int:
    """Read a number of days or hours as seconds; nothing is 0."""
    found = re.fullmatch(r"(\d{1,6})([dh])", period, re.ASCII)
    if found is None and period:
        raise click.BadParameter(f"{period} is no number of days or hours, such as 90d or 36h")
    return int(found[1]) * _SECONDS[found[2]] if found else 0


@click.command()
@of_data
@click.option(
    "--keep",
    required=True,
    callback=as_seconds,
    metavar="PERIOD",
    help="Pictures that came longer ago than that go: 90d, 36h, or 0d for all.",
)
@with_answer
def purge(data: Path, database: str, keep: int) -> None:
    """Remove pictures and names of the images that came longer ago; scores and verdicts stay.

    The same as `msde serve --keep` does by itself. The audit log has a line for each.
    """
    with opened(data, database) as (settings, found):
        from msde.serve import erasure
        from msde.serve.storage.store import Store

        removed = erasure.purge(found, Store(settings.folder), timedelta(seconds=keep), "msde serve purge")
        emptied = found.empty_journal()
    say(f"{removed} pictures removed{'' if emptied else '; the service empties its journal in a moment'}")
    answer({"removed": removed, "journal_emptied": emptied})


@contextmanager
def opened(data: Path, url: str) -> Iterator[tuple[Settings, Database]]:
    """Open a service's database, whether the service runs or not.

    Raises
    ------
    MSDEError
        If there is none, or it cannot be used.
    """
    try:
        from sqlalchemy.exc import SQLAlchemyError

        from msde.serve.settings import Settings
        from msde.serve.storage.database import Database
    except ImportError as error:
        raise MSDEError(f"the service needs {error.name}; run `pip install 'msde[serve]'`") from error

    if not (data / "database-id").exists():
        raise MSDEError(f"{data}: is no data folder of the service; give that of `msde serve --data`")
    settings = Settings(data=str(data.absolute()), models=(), database=url)
    database = Database(settings.url)
    try:
        yield settings, database
    except SQLAlchemyError as error:
        raise MSDEError(
            f"the database cannot be used ({type(error).__name__}); give its --database, and start the service once"
            " after an upgrade"
        ) from error
    finally:
        database.close()
