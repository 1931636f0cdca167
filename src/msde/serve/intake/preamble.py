"""What may stand before the first boundary of a multipart body, and means nothing (RFC 2046, 5.1.1)."""

from __future__ import annotations


class Preamble:
    """Drops it from a body that comes in blocks; the parsers at hand take it for damage.

    Parameters
    ----------
    boundary : bytes
        As the header of the request has it.
    """

    def __init__(self, boundary: bytes) -> None:
        self._mark = b"\n--" + boundary
        self._seen: bytes | None = b"\n"  # for the mark may be the body's first line; None when it was found

    def drop(self, block: bytes) -> bytes:
        """Return what of a block belongs to the parts."""
        if self._seen is None:
            return block
        self._seen += block
        found = self._seen.find(self._mark)
        if found < 0:
            self._seen = self._seen[-len(self._mark) :]
            return b""
        rest, self._seen = self._seen[found + 1 :], None
        return rest
