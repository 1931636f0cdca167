"""Room for pixels: how many are decoded at once, so that large images take turns and small ones do not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from msde.images.samples import admission


class PixelRoom:
    """Room for the pixels of images that are worked on at once; an image of more waits until there is no other.

    Parameters
    ----------
    pixels : int
    """

    def __init__(self, pixels: int) -> None:
        self._room, self._taken, self._change = pixels, 0, Condition()

    @contextmanager
    def admitting(self) -> Iterator[None]:
        """Count the first image that the block reads, and give its room back at the end.

        The first alone: who took more later could wait for another that does the same. Where the block is part of one
        that is counted already, nothing changes.
        """
        if admission.get() is not None:
            yield
            return
        taken = 0

        def take(pixels: int) -> None:
            nonlocal taken
            if not taken:
                self._take(pixels)
                taken = pixels

        token = admission.set(take)
        try:
            yield
        finally:
            admission.reset(token)
            with self._change:
                self._taken -= taken
                self._change.notify_all()

    def _take(self, pixels: int) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._taken or self._taken + pixels <= self._room)
            self._taken += pixels
