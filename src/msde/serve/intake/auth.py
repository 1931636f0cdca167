"""Who asks: by token, by the cookie that a token was exchanged for, or by a trusted proxy's word."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from itsdangerous import BadData, SignatureExpired, Signer, URLSafeTimedSerializer

from msde.errors import DataError
from msde.serve.errors import Denied, Forbidden
from msde.serve.settings import Settings

COOKIE = "msde_session"
CSRF_HEADER = "x-csrf-token"
ROLES = ("reader", "admin")
LASTS = 12 * 3600  # seconds of a session
_SAFE = ("GET", "HEAD", "OPTIONS")
_DIGEST = hashlib.sha256().digest_size * 2


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Parameters
    ----------
    user : str
    role : {"reader", "admin"}
    csrf : str
        The CSRF token of this session; empty where none is needed.
    """

    user: str
    role: str
    csrf: str = ""


@dataclass(frozen=True)
class _Entry:
    user: str
    role: str
    digest: str


class Gate:
    """Checks who asks.

    Tokens stand in DATA/tokens as lines ``USER ROLE SHA256``; a change of the file counts at once. At the first start
    the file is made with one admin, whose token is then in DATA/admin-token.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    DataError
        If the file is not as it should be.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = settings.folder / "tokens"
        secret = _secret(settings.folder / "secret")
        self._sessions = URLSafeTimedSerializer(
            secret, salt="msde session", signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._signer = Signer(secret, salt="msde csrf", digest_method=hashlib.sha256)
        if not self._file.exists():
            _first_token(settings.folder)
        self._lock = Lock()
        self._stamp = self._file.stat().st_mtime_ns
        self._entries = _entries(self._file)

    def caller(self, method: str, headers: Mapping[str, str], cookies: Mapping[str, str], peer: str) -> Caller:
        """Return who asks.

        Parameters
        ----------
        method : str
            Of HTTP.
        headers : mapping
            With lower-case names.
        cookies : mapping
        peer : str
            Address that the request comes from.

        Raises
        ------
        Denied
            No token or a wrong one.
        Forbidden
            A change without the CSRF token.
        """
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            entry = self._of_token(token)
            return Caller(entry.user, entry.role)
        proxied = self._settings.proxy_header.lower()
        if proxied and headers.get(proxied) and peer in self._settings.proxies:
            caller = self._named(headers[proxied].strip())
        else:
            caller = self._in_session(cookies.get(COOKIE, ""))
        if method not in _SAFE and not _same(headers.get(CSRF_HEADER, ""), caller.csrf):
            raise Forbidden(
                "the X-CSRF-Token of GET /api/session is missing or of another session; load the page again"
            )
        return caller

    def begin(self, token: str) -> tuple[Caller, str]:
        """Exchange a token for a session; return who it is, and the cookie.

        Raises
        ------
        Denied
            A wrong token.
        """
        cookie = self._sessions.dumps([self._of_token(token).digest, secrets.token_hex(8)])
        return self._in_session(cookie), cookie

    def _in_session(self, cookie: str) -> Caller:
        try:
            digest, _ = self._sessions.loads(cookie, max_age=LASTS)
        except SignatureExpired:
            raise Denied("the session is over; sign in again") from None
        except BadData:
            raise Denied("no token; send the header 'Authorization: Bearer TOKEN' or sign in on the page") from None
        entry = self._entry(digest)
        if entry is None:
            raise Denied("the session is over; sign in again")
        return Caller(entry.user, entry.role, self._csrf(cookie))

    def _named(self, user: str) -> Caller:
        user = user[:200]
        role = "admin" if user in self._settings.admins else "reader"
        return Caller(user, role, self._csrf(f"proxy {user}"))

    def _csrf(self, session: str) -> str:
        return self._signer.get_signature(session).decode()

    def _of_token(self, token: str) -> _Entry:
        entry = self._entry(_digest(token.strip()))
        if entry is None:
            raise Denied("the token is not known; ask the administrator of the service for one")
        return entry

    def _entry(self, digest: str) -> _Entry | None:
        """Find the entry of a token's digest; each is compared, so that the time taken reveals nothing."""
        found = None
        for entry in self._current():
            if _same(entry.digest, digest):
                found = entry
        return found

    def _current(self) -> tuple[_Entry, ...]:
        try:
            stamp = self._file.stat().st_mtime_ns
            if stamp != self._stamp:
                with self._lock:
                    self._entries, self._stamp = _entries(self._file), stamp
        except (OSError, DataError):
            return ()  # better nobody than somebody who was taken out
        return self._entries


def _same(given: str, right: str) -> bool:
    return bool(right) and hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _entries(file: Path) -> tuple[_Entry, ...]:
    entries = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[1] not in ROLES or len(words[2]) != _DIGEST:
            raise DataError(f"{file}: line {number} is not USER ROLE SHA256 with a role of {' or '.join(ROLES)}")
        entries.append(_Entry(words[0], words[1], words[2].lower()))
    return tuple(entries)


def _secret(file: Path) -> bytes:
    if not file.exists():
        _write_privately(file, secrets.token_hex(32))
    return bytes.fromhex(file.read_text("ascii"))


def _first_token(folder: Path) -> None:
    file = folder / "admin-token"
    _write_privately(file, f"{secrets.token_urlsafe(32)}\n")
    token = file.read_text("utf-8").strip()  # another's, perhaps, who was first or came no further
    _write_privately(folder / "tokens", f"admin admin {_digest(token)}\n")


def _write_privately(file: Path, text: str) -> None:
    """Write a file for the owner alone, whole or not at all; where another process was first, its file stays."""
    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.link(part, file)
    except FileExistsError:
        pass
    finally:
        part.unlink()
