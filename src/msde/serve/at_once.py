"""Scoring while the sender waits: of files that are not kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from msde.images import expanded, forget
from msde.images.passing import times_met
from msde.model.anomaly_model import AnomalyModel
from msde.serve.errors import Busy, OutOfResources
from msde.serve.intake.uploads import clean
from msde.serve.models import Current, Models
from msde.serve.scoring import judge, marked
from msde.serve.storage.queue import Outcome

_WAITING_PER_THREAD = 32


class AtOnce:
    """Threads that score for whoever waits.

    Parameters
    ----------
    models : Models
    threads : int
    stopping : callable
        Called after each image or slice: whether to stop.
    """

    def __init__(self, models: Models, threads: int, stopping: Callable[[], bool]) -> None:
        self._models, self._stopping = models, stopping
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="msde-once")
        self._room = threads * _WAITING_PER_THREAD
        self._pending = 0
        self._lock = Lock()

    def score(self, path: Path, name: str, current: Current) -> Outcome:
        """Score a file.

        Raises
        ------
        Busy
            Too many wait.
        OutOfResources
            The machine's state kept the file from being read.
        """
        with self._lock:
            if self._pending >= self._room:
                raise Busy("too many requests wait; send it again after the seconds of Retry-After", retry_after=1)
            self._pending += 1
        try:
            outcome = self._threads.submit(self._judge, path, clean(name), current).result()
        finally:
            with self._lock:
                self._pending -= 1
        if outcome.passing:
            raise OutOfResources
        return outcome

    def stop(self) -> None:
        """Finish what is being scored, and give up what waits."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _judge(self, path: Path, name: str, current: Current) -> Outcome:
        met = times_met()
        loaded = self._models.version(current.version_id)
        model = AnomalyModel.of(loaded.fitted, loaded.session)  # which keeps no embedding
        try:
            return marked(judge(model, [(name, list(expanded([path])))], self._stopping), met)[0]
        finally:
            forget(path)
