"""Whether the service can do its work: found out every few seconds, so that who asks never waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from msde.serve.logs import log

LOOK = 2.0
"""Seconds between two looks."""
LATE = 30.0
"""Seconds without a look after which what looks counts as stuck."""

Check = tuple[str, Callable[[], bool]]
"""What is wrong if it is not so, and whether it is."""


@dataclass(eq=False)
class Health:
    """What was found at the last look.

    Parameters
    ----------
    checks : sequence of Check
    """

    checks: Sequence[Check]
    _found: tuple[str, ...] = ()
    _looked: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        """Check everything, and log what has changed."""
        found = tuple(problem for problem, is_well in self.checks if not _holds(is_well))
        if found != self._found:
            log("warning" if found else "info", "the health of the service has changed", problems=list(found))
        self._found, self._looked = found, time.monotonic()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, in words that name nothing and nobody; empty if nothing is."""
        if time.monotonic() - self._looked > LATE:
            return *self._found, "the service cannot look after itself: the database or the disk does not answer"
        return self._found


def _holds(is_well: Callable[[], bool]) -> bool:
    try:
        return is_well()
    except Exception:  # what cannot even be checked is not well
        return False
