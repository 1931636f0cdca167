"""The processes: one that answers and scores, or a parent with several."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

import click
import uvicorn

from msde.errors import MSDEError
from msde.serve.intake.connection import IDLE, Connection, raise_file_limit
from msde.serve.lifecycle import prepare
from msde.serve.logs import set_up_logs
from msde.serve.memory import share_arenas
from msde.serve.metrics import SHARED
from msde.serve.pacs import link
from msde.serve.pacs.settings import PacsFile
from msde.serve.settings import Settings
from msde.serve.storage.privacy import keep_private
from msde.serve.workers import tell_of_ends

_IN_MEMORY = "/dev/shm"  # noqa: S108 - in a folder of our own
GRACE = 3  # seconds for requests under way; with those of the scorers less than ten


def run(settings: Settings) -> None:
    """Serve until told to stop.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    MSDEError
        If the service cannot start.
    """
    set_up_logs()
    keep_private()
    share_arenas()
    raise_file_limit()
    if settings.pacs:
        link.check(PacsFile.read(settings.pacs))
    lock = prepare(settings)
    settings.to_environment()
    shared = ""
    if settings.workers > 1:
        # In memory, because who writes to a mapped file on a full disk is killed.
        shared = tempfile.mkdtemp(prefix="msde-", dir=_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None)
        os.environ[SHARED] = shared  # before the library is imported in the workers
        tell_of_ends()
    click.echo(
        f"msde: http://{_bracketed(settings.host)}:{settings.port}/ (token: {settings.folder / 'admin-token'})",
        err=True,
    )
    try:
        uvicorn.run(
            "msde.serve.app:from_environment",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
            http=Connection,
            ws="none",
            # Taken at a time; if there could be as many, those just made would make room for the next.
            backlog=max(16, settings.connections // 2),
            timeout_keep_alive=int(IDLE.seconds),
            h11_max_incomplete_event_size=65_536,
        )
    except SystemExit as error:
        if error.code:
            raise MSDEError("the service could not start; see the log above") from None
    finally:
        lock.close()
        if shared:
            shutil.rmtree(shared, ignore_errors=True)
        sys.stderr.flush()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
