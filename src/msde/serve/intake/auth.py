"""Who asks: by token, by the cookie that a token was exchanged for, or by a trusted proxy's word."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers

from msde.serve.audit import record
from msde.serve.errors import Denied, Forbidden
from msde.serve.intake.tokens import LONGEST_USER, Entry, Tokens, digest_of_token
from msde.serve.settings import Settings
from msde.serve.storage import sessions
from msde.serve.storage.database import Database
from msde.serve.storage.secret import read_secret, write_privately

COOKIE = "msde_session"
CSRF_HEADER = "x-csrf-token"
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Parameters
    ----------
    user : str
    role : {"reader", "admin"}
    csrf : str
        The CSRF token of this session; empty where none is needed.
    by_proxy : bool
        Whether a trusted proxy says so, where the user signs in and out.
    """

    user: str
    role: str
    csrf: str = ""
    by_proxy: bool = False


class Gate:
    """Checks who asks.

    Tokens stand in DATA/tokens. At the first start the file is made with one admin, whose token is then in
    DATA/admin-token.

    Parameters
    ----------
    settings : Settings
    database : Database
        With the sessions.

    Raises
    ------
    DataError
        If the secret that DATA/secret holds is none.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._secret = read_secret(settings.folder / "secret")
        file = settings.folder / "tokens"
        if not file.exists():
            _first_token(settings.folder)
        self._tokens = Tokens(file)

    def caller(self, method: str, headers: Headers, cookies: Mapping[str, str], peer: str) -> Caller:
        """Return who asks.

        Parameters
        ----------
        method : str
            Of HTTP.
        headers : Headers
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
        named = self._named_by_proxy(headers, peer)
        caller = self._in_session(cookies.get(COOKIE, "")) if named is None else named
        if method not in _SAFE and not _same(headers.get(CSRF_HEADER, ""), caller.csrf):
            raise Forbidden(
                "the X-CSRF-Token of GET /api/session is missing or of another session; load the page again",
                caller.user,
            )
        return caller

    def begin(self, token: str, address: str) -> tuple[Caller, str]:
        """Exchange a token for a session; return who it is, and the cookie.

        Raises
        ------
        Denied
            A wrong token.
        """
        entry = self._of_token(token)
        with self._database.write() as session:
            cookie = sessions.begin(session, entry.digest)
            record(session, entry.user, "sign in", address=address)
        return Caller(entry.user, entry.role, self._csrf(cookie)), cookie

    def end(self, caller: Caller, cookie: str, address: str) -> None:
        """End a session, so that no copy of its cookie is of use."""
        with self._database.write() as session:
            sessions.end(session, cookie)
            record(session, caller.user, "sign out", address=address)

    def _in_session(self, cookie: str) -> Caller:
        if not cookie:
            raise Denied("no token; send the header 'Authorization: Bearer TOKEN' or sign in on the page")
        with self._database.read() as session:
            token = sessions.token_of(session, cookie)
        entry = self._tokens.find(token) if token else None
        if entry is None:
            raise Denied("the session is over; sign in again")
        return Caller(entry.user, entry.role, self._csrf(cookie))

    def _named_by_proxy(self, headers: Headers, peer: str) -> Caller | None:
        """Return whom a trusted proxy names; None where there is no such proxy, or it names nobody."""
        settings = self._settings
        if not settings.proxy_header or peer not in settings.proxies:
            return None
        user = _stated(headers, settings.proxy_header)[:LONGEST_USER]
        if not user:
            return None
        listed = _stated(headers, settings.groups_header) if settings.groups_header else ""
        groups = {group.strip() for group in listed.split(",")} - {""}
        is_admin = user in settings.admins or not groups.isdisjoint(settings.admin_groups)
        if settings.reader_groups and not is_admin and groups.isdisjoint(settings.reader_groups):
            raise Forbidden(
                "you are in none of the groups that may come in; ask the administrator of the service", user
            )
        return Caller(user, "admin" if is_admin else "reader", self._csrf(f"proxy {user}"), by_proxy=True)

    def _csrf(self, session: str) -> str:
        return hmac.new(self._secret, f"csrf {session}".encode(), hashlib.sha256).hexdigest()

    def _of_token(self, token: str) -> Entry:
        entry = self._tokens.find(digest_of_token(token))
        if entry is None:
            raise Denied("the token is not known; ask the administrator of the service for one", tried="token")
        return entry


def _stated(headers: Headers, name: str) -> str:
    """Return what a proxy states in a header, in UTF-8 as proxies write it, or else as HTTP has it.

    Raises
    ------
    Denied
        If the header is there more than once.
    """
    stated = headers.getlist(name)
    if len(stated) > 1:  # the proxy adds to what a sender gives, and which is whose cannot be told
        raise Denied(f"the header {name} comes more than once; have the proxy overwrite it", tried="header")
    text = stated[0] if stated else ""
    with suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    return text.strip()


def _same(given: str, right: str) -> bool:
    return bool(right) and hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def _first_token(folder: Path) -> None:
    file = folder / "admin-token"
    write_privately(file, f"{secrets.token_urlsafe(32)}\n")
    token = file.read_text("utf-8")  # another's, perhaps, who was first or came no further
    write_privately(folder / "tokens", f"admin admin {digest_of_token(token)}\n")
