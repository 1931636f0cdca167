"""Work that is done again and again, more slowly while it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msde.errors import MSDEError
from msde.serve.backoff import pause
from msde.serve.errors import Postponed
from msde.serve.logs import log, log_failure

_SLOWEST = timedelta(minutes=5)


class Periodic:
    """A thread that does a task at intervals until it is stopped.

    Parameters
    ----------
    name : str
        What the log calls it.
    seconds : float
        Pause between two rounds; doubled with each that fails, to five minutes.
    task : callable
        Called with a callable that says whether to stop.

    Attributes
    ----------
    done : datetime or None
        When the last good round ended.
    error : str or None
        Why the last round failed; None where it did not.
    """

    def __init__(self, name: str, seconds: float, task: Callable[[Callable[[], bool]], object]) -> None:
        self.name = name
        self.done: datetime | None = None
        self.error: str | None = None
        self._interval, self._task = timedelta(seconds=seconds), task
        self._stop = threading.Event()
        self._wake = threading.Event()
        # A daemon, because a process that is told to stop must not wait for a slow archive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Do the next round now."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no further round."""
        self._stop.set()
        self._wake.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, if it was started, at most so long."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._wake.clear()
            error = self._round()
            if error is not None and error != self.error:
                log("warning", "a link fails", job=self.name, reason=error)
            self.error = error
            failures = 0 if error is None else failures + 1
            first, longest = max(timedelta(seconds=1), 2 * self._interval), max(_SLOWEST, self._interval)
            wait = pause(failures, first, longest) if failures else self._interval
            self._wake.wait(wait.total_seconds())

    def _round(self) -> str | None:
        """Do the task; return why it failed."""
        try:
            self._task(self._stop.is_set)
        except Postponed as error:
            return f"the service is busy ({error})"
        except MSDEError as error:
            return str(error)
        except Exception as error:  # a full disk or a database away must not end the thread
            log_failure("a link failed", error)
            return f"failed ({type(error).__name__}); see the log"
        self.done = datetime.now(UTC)
        return None
