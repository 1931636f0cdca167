"""Download one file: over HTTPS, going on where it stopped, checked against its MD5."""

from __future__ import annotations

import errno
import hashlib
import http.client
import math
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from msde.errors import DataError
from msde.storage.digests import digest_of

MAX_BYTES = 2**35
"""Size that a file may have."""
MEGABYTE = 2**20
_TIMEOUT = 30
_HERE = ("localhost", "127.0.0.1", "::1")
_RANGE_NOT_SATISFIABLE = 416

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Takes a label and the number of steps, megabytes; gives what is to be called after each step."""


class _Response(NamedTuple):
    body: http.client.HTTPResponse
    start: int
    size: int


def silent(_label: str, _steps: int) -> AbstractContextManager[Callable[[], None]]:
    """Show no progress."""
    return nullcontext(lambda: None)


def download(url: str, path: Path, md5: str | None, progress: Progress = silent) -> None:
    """Download a file by HTTPS, or by HTTP from this machine, or check the one that is there.

    What has arrived is kept in ``PATH.part``. Where the connection breaks, the rest is asked for as long as some of it
    arrives each time; a later call goes on likewise. `md5` is None where the publisher states none. Raises DataError
    where the server cannot be reached or has no such file, the file is too large or another than the publisher's, or
    there is no room for it.
    """
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        _complete(url, part, progress)
        if not _is_right(part, md5):
            part.unlink()
            raise DataError(f"{url}: what arrived is not the published file (its MD5 differs); try again")
        os.replace(part, path)
    elif not _is_right(path, md5):
        raise DataError(f"{path}: is not the published file (its MD5 differs); remove it and try again")


def _complete(url: str, part: Path, progress: Progress) -> None:
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _receive(url, part, before, progress):
                return
            reason = "the connection broke"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == _RANGE_NOT_SATISFIABLE and before:
                part.unlink()
                continue
            raise DataError(f"{url}: the server answers {error.code} {error.reason}; {_remedy(part)}") from None
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "filename", None) or getattr(error, "errno", None) == errno.ENOSPC:
                raise  # of the file, not the connection
            cause = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            reason = " ".join(str(cause).split()) or type(error).__name__
        if not part.exists() or part.stat().st_size <= before:
            raise DataError(f"{url}: cannot be reached ({reason}); {_remedy(part)}")


def _remedy(part: Path) -> str:
    folder = part.parent.resolve()
    return f"check the network, or put {part.name.removesuffix('.part')} into {folder} by other means and call again"


def _receive(url: str, part: Path, start: int, progress: Progress) -> bool:
    """Receive what is missing, and tell whether all of it came."""
    response = _request(url, start)
    with response.body as body:
        missing = response.size - response.start
        _check_room(url, part, response.size, missing)
        with (
            open(part, "ab" if response.start else "wb") as file,
            progress(f"Downloading {url.rpartition('/')[2]}", math.ceil(missing / MEGABYTE)) as tick,
        ):
            while missing > 0 and (chunk := body.read(min(missing, MEGABYTE))):
                file.write(chunk)
                missing -= len(chunk)
                tick()
    return missing == 0


def _request(url: str, start: int) -> _Response:
    """Ask for a file from a byte on; the server may begin at the first all the same."""
    _check_address(url)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    handlers = [urllib.request.ProxyHandler({})] if urllib.parse.urlsplit(url).hostname in _HERE else []
    body = urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT)
    _check_address(body.url)  # where it was sent on to
    length = body.headers.get("Content-Length", "")
    if not length.isdigit():
        body.close()
        raise DataError(f"{url}: the server does not state the file's size; try again or give another --mirror")
    given = body.headers.get("Content-Range", "")
    start = start if body.status == http.client.PARTIAL_CONTENT and given.startswith(f"bytes {start}-") else 0
    return _Response(body, start, start + int(length))


def _check_address(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise DataError(f"{url}: is no https address; give one, or http on this machine")


def _check_room(url: str, part: Path, size: int, missing: int) -> None:
    if size > MAX_BYTES:
        raise DataError(f"{url}: has {size:,} bytes, over the limit of {MAX_BYTES:,}; fetch it by other means")
    if shutil.disk_usage(part.parent).free < missing:
        raise DataError(f"{part.parent.resolve()}: has no room for {missing:,} bytes; choose another folder")


def _is_right(path: Path, md5: str | None) -> bool:
    return md5 is None or digest_of(path, lambda: hashlib.md5(usedforsecurity=False)) == md5
