"""Users and the digests of their tokens, as DATA/tokens lists them."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from msde.serve.errors import postponed
from msde.serve.logs import log

ROLES = ("reader", "admin")
LONGEST_USER = 200
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A line of the file.

    Parameters
    ----------
    user : str
    role : {"reader", "admin"}
    digest : str
        SHA-256 of the token.
    """

    user: str
    role: str
    digest: str


class Tokens:
    """The lines ``USER ROLE SHA256`` of a file, which is read at each look, so that a change counts at once.

    A line that is none is logged by its number, once, and counts for nobody; the others go on.

    Parameters
    ----------
    file : Path
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = Lock()
        self._content: bytes | None = None
        self._entries: tuple[Entry, ...] = ()

    def find(self, digest: str) -> Entry | None:
        """Find the line of a token's digest; each is compared, so that the time taken reveals nothing."""
        found = None
        for entry in self._current():
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        return found

    def _current(self) -> tuple[Entry, ...]:
        try:
            content = self._file.read_bytes()
        except OSError as error:
            if refusal := postponed(error):  # nobody is told that a token is wrong because no file could be opened
                raise refusal from error
            content = b""  # better nobody than somebody who was taken out
        with self._lock:
            if content != self._content:
                self._entries, self._content = _entries(content), content
            return self._entries


def digest_of_token(token: str) -> str:
    """Compute the digest by which a token is known."""
    return hashlib.sha256(token.strip().encode("utf-8", "replace")).hexdigest()


def _entries(content: bytes) -> tuple[Entry, ...]:
    entries = []
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        entry = parse(line)
        if entry is not None:
            entries.append(entry)
        elif not is_comment(line):
            log("warning", "a line of the tokens is not USER ROLE SHA256, and counts for nobody", line=number)
    return tuple(entries)


def is_comment(line: str) -> bool:
    """Whether a line is empty or begins with a #."""
    return line.strip()[:1] in ("", "#")


def parse(line: str) -> Entry | None:
    """Read a line of the file; None where it is none, or a comment."""
    words = line.split()
    if is_comment(line) or len(words) != 3:
        return None
    user, role, digest = words[0], words[1], words[2].lower()
    good = user.isprintable() and len(user) <= LONGEST_USER and role in ROLES and _DIGEST.fullmatch(digest)
    return Entry(user, role, digest) if good else None
