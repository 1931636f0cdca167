"""Bodies that come packed (Content-Encoding), unpacked as they come."""

from __future__ import annotations

import zlib

from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive

from msde.serve.errors import ServiceError

CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What is unpacked, and the kind of stream that zlib has to expect."""
_BLOCK = 1 << 20


def unpacked(receive: Receive, coding: str) -> Receive:
    """Unpack a body in blocks of bounded size; who receives them counts them.

    Parameters
    ----------
    receive : callable
        Gives the packed body.
    coding : str
        One of `CODINGS`.

    Returns
    -------
    callable
        Gives the body. It raises ServiceError where the stream is damaged or ends early.
    """
    stream, all_here, all_given = _Stream(coding), False, False

    async def receiving() -> Message:
        nonlocal all_here, all_given
        while not all_given:
            if block := await run_in_threadpool(stream.read):
                return {"type": "http.request", "body": block, "more_body": True}
            if all_here:
                stream.check_end()
                all_given = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await receive()
            if message["type"] != "http.request":
                return message
            stream.feed(message.get("body", b""))
            all_here = not message.get("more_body", False)
        return await receive()

    return receiving


class _Stream:
    """One or, of gzip, several streams one after the other."""

    def __init__(self, coding: str) -> None:
        self._coding, self._packed, self._begun = coding, b"", False
        self._inflater = zlib.decompressobj(CODINGS[coding])

    def feed(self, data: bytes) -> None:
        self._packed += data

    def read(self) -> bytes:
        """Return the next bytes, none where more has to be fed."""
        while True:
            if self._inflater.eof and self._packed:
                self._inflater = zlib.decompressobj(CODINGS[self._coding])
            try:
                block = self._inflate()
            except zlib.error:
                raise ServiceError(f"the body is no whole {self._coding} stream; send it again") from None
            if block or not self._packed:
                return block

    def check_end(self) -> None:
        if self._begun and not self._inflater.eof:
            raise ServiceError(f"the {self._coding} stream of the body ends early; send it again")

    def _inflate(self) -> bytes:
        try:
            block = self._inflater.decompress(self._packed, _BLOCK)
        except zlib.error:
            if self._begun or self._coding != "deflate":
                raise
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)  # many send it without zlib's header
            block = self._inflater.decompress(self._packed, _BLOCK)
        self._begun |= bool(self._packed)
        self._packed = self._inflater.unconsumed_tail or self._inflater.unused_data
        return block
