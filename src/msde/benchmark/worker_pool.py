"""Work spread over processes, each of which keeps to one group of tasks at a time and is replaced where it dies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerPool(Generic[Task, Result]):
    """Processes that work on groups of tasks; results come as soon as they are there, in any order.

    `work` is of the top level of a module, so that another process finds it. The tasks of a group run one after the
    other in one process, which may keep what they share. An exception of `work` is the task's result; a process that
    dies, such as for lack of memory, costs its task alone.
    """

    def __init__(self, work: Callable[[Task], Result], n: int) -> None:
        self._work, self._n = work, n

    def run(self, groups: Sequence[Sequence[Task]]) -> Iterator[tuple[Task, Result | Exception]]:
        """Yield each task with its result or its exception."""
        waiting: SimpleQueue[Sequence[Task]] = SimpleQueue()
        done: SimpleQueue[tuple[Task, Result | Exception]] = SimpleQueue()
        stop = Event()
        for group in groups:
            waiting.put(group)
        threads = [Thread(target=self._follow, args=(waiting, done, stop)) for _ in range(min(self._n, len(groups)))]
        for thread in threads:
            thread.start()
        try:
            for _ in range(sum(map(len, groups))):
                yield done.get()
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _follow(
        self,
        waiting: SimpleQueue[Sequence[Task]],
        done: SimpleQueue[tuple[Task, Result | Exception]],
        stop: Event,
    ) -> None:
        process = _process()
        try:
            while not stop.is_set():
                try:
                    group = waiting.get_nowait()
                except Empty:
                    return
                for task in group:
                    if stop.is_set():
                        return
                    try:
                        done.put((task, process.submit(self._work, task).result()))
                    except BrokenProcessPool:
                        done.put(
                            (task, RuntimeError("the process died, perhaps for lack of memory; give fewer --workers"))
                        )
                        process = _process()
                    except Exception as error:
                        done.put((task, error))
        finally:
            process.shutdown(cancel_futures=True)


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_single_threaded)


def _single_threaded() -> None:
    """Let libraries take one thread each, because every processor has a process of its own; and end with the parent."""
    Thread(target=_end_with_parent, daemon=True).start()
    for name in _THREADS:
        os.environ[name] = "1"
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _end_with_parent() -> None:
    """Leave at once where the parent was killed: nobody would take the result, and a later run does the task anew."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
