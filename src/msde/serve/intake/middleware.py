"""The outermost layer: host names, path prefix, packing, size limits, security headers, one log line a request."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msde.serve.errors import TooLarge, postponed
from msde.serve.intake.encoding import CODINGS, unpacked
from msde.serve.intake.refusal import refusal
from msde.serve.logs import log, log_failure
from msde.serve.metrics import Metrics
from msde.serve.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SMALL_BODY = 1_000_000
_STREAM = "/api/events"
_UPLOADS = ("/api/images", "/api/score", "/dicomweb")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
_OF_PACKING = (b"content-encoding", b"content-length")
_PLAIN = "identity"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))


class Middleware:
    """Wraps the application.

    Parameters
    ----------
    app : ASGI application
    settings : Settings
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        any_host = "*" in settings.hosts or (settings.host not in LOOPBACK and not settings.hosts)
        self._hosts = None if any_host else {*LOOPBACK, settings.host, *settings.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = self._rooted(scope)
        start, status, begun = time.perf_counter(), 500, False

        async def sending(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *_RAW_HEADERS]
                if b"cache-control" not in given:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        try:
            refused = self._refusal(scope)
            if refused is not None:
                await refused(scope, receive, sending)
            else:
                await self._app(*self._bounded(scope, receive), sending)
        except Exception as error:
            log_failure("a request failed", error)
            if begun:
                raise
            await _failed(error)(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "") or "other"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            if route != _STREAM:  # which lasts for as long as a page is open
                self._metrics.answered(method, route, status, seconds)
            if route not in ("/livez", "/readyz", "/metrics"):
                log("info", "request", method=method, route=route, status=status, seconds=round(seconds, 4))

    def _rooted(self, scope: Scope) -> Scope:
        """Put the prefix below which readers reach the service before the path, where a proxy has taken it off."""
        root, path = self._settings.root_path, scope["path"]
        if not root:
            return scope
        below = path == root or path.startswith(f"{root}/")
        return {**scope, "root_path": root, "path": path if below else root + path}

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to what is not passed on."""
        root, limit = self._settings.root_path, self._limit(scope)
        if not self._is_our_host(scope):
            return JSONResponse({"detail": "this host name is not served"}, 421)
        if root and scope["path"] == root:  # from which the page's addresses, being relative, would miss
            return RedirectResponse(f"{root}/", 308)
        if _coding(scope) not in (*CODINGS, _PLAIN):
            detail = f"the body is packed in a way that is not read; send it plain, or as {' or '.join(CODINGS)}"
            return JSONResponse({"detail": detail}, 415, {"accept-encoding": ", ".join(CODINGS)})
        if self._announced(scope) > limit:
            return JSONResponse({"detail": _too_large(limit)}, 413)
        return None

    def _bounded(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        """Have the body counted as it comes, before and after it is unpacked."""
        receiving, coding = self._limited(scope, receive), _coding(scope)
        if coding != _PLAIN:
            headers = [(name, value) for name, value in scope["headers"] if name not in _OF_PACKING]
            scope["headers"] = headers
            receiving = self._limited(scope, unpacked(receiving, coding))
        return scope, receiving

    def _is_our_host(self, scope: Scope) -> bool:
        if self._hosts is None:
            return True
        try:
            return urlsplit(f"//{_header(scope, b'host')}").hostname in self._hosts
        except ValueError:
            return False

    def _announced(self, scope: Scope) -> int:
        length = _header(scope, b"content-length")
        return int(length) if length.isascii() and length.isdigit() else 0

    def _limit(self, scope: Scope) -> int:
        path = scope["path"].removeprefix(self._settings.root_path)
        large = path in _UPLOADS or path.startswith("/dicomweb/")
        # Of several files in one body the headers count too.
        return self._settings.upload_bytes + SMALL_BODY if large else SMALL_BODY

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Count what is received, and refuse what is too much."""
        limit, received = self._limit(scope), 0

        async def receiving() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise TooLarge(_too_large(limit))
            return message

        return receiving


def _failed(error: Exception) -> Response:
    """Return the answer to a request that came upon an error."""
    later = postponed(error)
    if later is not None:
        return refusal(later)
    return JSONResponse({"detail": f"the service failed ({type(error).__name__}); the log has more"}, 500)


def _coding(scope: Scope) -> str:
    return _header(scope, b"content-encoding").strip().lower() or _PLAIN


def _header(scope: Scope, wanted: bytes) -> str:
    """Return the first header of a name, empty where there is none."""
    value: bytes = next((value for name, value in scope["headers"] if name == wanted), b"")
    return value.decode("latin-1")


def _too_large(limit: int) -> str:
    return f"the request is over the limit of {limit:,} bytes; send less at once"
