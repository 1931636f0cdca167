"""A PostgreSQL of the tests' own: Debian's package, on loopback, as a user without rights."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import uuid
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any

import psycopg
from tests.requirements import need

USER = "postgres"
_TEMPORARY = gettempdir()  # a service that runs in this process later puts temporary files among its own


class Postgres:
    """A server in a folder of its own, which goes when it stops."""

    def __init__(self) -> None:
        need("postgresql")
        self._bin = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1].parent
        self._folder = Path(mkdtemp(prefix="msde-postgres-", dir=_TEMPORARY))
        if os.getuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam(USER)
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._run("initdb", "-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()

    def database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self._url(USER), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self._url(name)

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self._port} -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-w", "-o", options, "-l", "log", "start")

    def kill(self) -> None:
        """End it in the midst of what it does; it can be started again."""
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _url(self, name: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        as_user: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run(
            [self._bin / program, *arguments],
            cwd=self._folder,
            check=True,
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            **as_user,
        )
