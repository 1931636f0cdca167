"""Users added to, listed from and taken out of DATA/tokens, which a service that runs reads at once."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from msde.errors import DataError
from msde.serve.intake.tokens import LONGEST_USER, Entry, digest_of_token, parse
from msde.serve.leadership import locked
from msde.serve.storage.privacy import keep_owner
from msde.serve.storage.store import sync


def listed(folder: Path) -> list[Entry]:
    """List the users of a data folder with the digests of their tokens."""
    return [entry for entry in map(parse, _lines(folder / "tokens")) if entry is not None]


def add(folder: Path, user: str, role: str) -> str:
    """Add a user with a new token, and return the token, which is kept nowhere.

    Raises
    ------
    DataError
        If the user is there already, or the name cannot stand in the file.
    """
    if not user.isprintable() or not user or len(user.split()) != 1 or len(user) > LONGEST_USER or user[0] == "#":
        raise DataError(f"a user's name has 1 to {LONGEST_USER} characters, no space, and no # before it")
    token = secrets.token_urlsafe(32)
    line = f"{user} {role} {digest_of_token(token)}"

    def added(lines: list[str]) -> list[str]:
        if user in _names(lines):
            raise DataError(f"the user {user} is there already; for another token or role remove the user first")
        return [*lines, line]

    _change(folder, added)
    return token


def remove(folder: Path, user: str) -> int:
    """Take all lines of a user out; return how many admins are left.

    Raises
    ------
    DataError
        If there is no such user.
    """

    def without(lines: list[str]) -> list[str]:
        if user not in _names(lines):
            raise DataError(f"there is no user {user}; `msde serve user list` names all")
        return [line for line in lines if line.split()[:1] != [user]]

    _change(folder, without)
    return sum(entry.role == "admin" for entry in listed(folder))


def _names(lines: list[str]) -> set[str]:
    return {line.split()[0] for line in lines if line.split()}


def _lines(file: Path) -> list[str]:
    return [line for line in _text(file).split("\n") if line.strip()]


def _text(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "surrogateescape") if file.exists() else ""


def _change(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Put other lines into the file, whole or not at all; whose it is, so that the service can read it still."""
    file = folder / "tokens"
    with locked(folder / "tokens.lock"):
        text = "".join(f"{line}\n" for line in change(_lines(file)))
        handle, part = tempfile.mkstemp(dir=folder, prefix="tokens.", suffix=".part")  # for the owner alone
        try:
            with open(handle, "w", encoding="utf-8", errors="surrogateescape") as out:
                out.write(text)
            keep_owner(Path(part), folder)
            keep_owner(folder / "tokens.lock", folder)
            sync(Path(part))
            os.replace(part, file)
            sync(folder)
        finally:
            Path(part).unlink(missing_ok=True)
