"""The processes: one that answers and scores, or a parent with several."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread

import click
import uvicorn

from msde.errors import MSDEError
from msde.serve.intake.connection import IDLE, Connection, raise_file_limit
from msde.serve.lifecycle import prepare
from msde.serve.logs import set_up_logs
from msde.serve.memory import keep_little
from msde.serve.metrics import SHARED
from msde.serve.pacs import link
from msde.serve.pacs.settings import PacsFile
from msde.serve.settings import Settings
from msde.serve.storage.privacy import keep_private
from msde.serve.workers import tell_of_ends

_IN_MEMORY = "/dev/shm"  # noqa: S108 - in a folder of our own
_SOON = 0.05  # seconds between two looks whether the port is listened at
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
    keep_little()
    raise_file_limit()
    if settings.pacs:
        link.check(PacsFile.read(settings.pacs))
    lock = prepare(settings)
    port = free_port(settings.host, settings.port)
    settings.to_environment()
    shared = ""
    if settings.workers > 1:
        # In memory, because who writes to a mapped file on a full disk is killed.
        shared = tempfile.mkdtemp(prefix="msde-", dir=_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None)
        os.environ[SHARED] = shared  # before the library is imported in the workers
        tell_of_ends()
    Thread(target=_tell_address, args=(settings.host, port, settings.folder), daemon=True).start()
    try:
        uvicorn.run(
            "msde.serve.app:from_environment",
            factory=True,
            host=settings.host,
            port=port,
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


def free_port(host: str, port: int) -> int:
    """Return the port if it is free to listen on; for 0 one that is.

    Raises
    ------
    MSDEError
        If it is not.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            return int(tried.getsockname()[1])
    except OSError as error:
        reason = error.strerror or error
        raise MSDEError(f"cannot listen at {_url(host, port)} ({reason}); give another --host or --port") from None


def _tell_address(host: str, port: int, folder: Path) -> None:
    """Print the address as soon as it is listened at; nobody else can, as the port was free a moment ago."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to connect to, not to listen at
    while True:
        try:
            socket.create_connection((near, port), timeout=1).close()
        except OSError:
            time.sleep(_SOON)
            continue
        token = folder / "admin-token"
        beside = f" (token: {token})" if token.exists() else ""
        return click.echo(f"msde: {_url(host, port)}{beside}", err=True)


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
