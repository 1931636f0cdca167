"""Blocks of an array worked on by all processors: NumPy lets go of the interpreter while it computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

_QUEUED_PER_WORKER = 2
Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(job: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[Result]:
    """Run a job on each item, several at once, a bounded number ahead of what is taken.

    Parameters
    ----------
    job : callable
        Takes an item; may run in any of the threads, with the context variables of the caller.
    items : iterable
        Consumed no faster than it is worked on.
    workers : int, optional
        Threads; by default the number of usable processors.

    Yields
    ------
    object
        What the job returned, in the order of the items.
    """
    workers = workers or available_cores()
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="msde-job") as pool:
        try:
            for item in items:
                pending.append(pool.submit(copy_context().run, job, item))
                if len(pending) >= workers * _QUEUED_PER_WORKER:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def for_blocks(job: Callable[[slice], object], n: int, step: int) -> None:
    """Run a job on consecutive blocks of n rows or columns, one a processor at a time.

    Parameters
    ----------
    job : callable
        Takes the slice of its block and writes its result where no other block's job does.
    n : int
        Number of rows or columns.
    step : int
        Size of a block; the last may be smaller.
    """
    blocks = [slice(start, min(start + step, n)) for start in range(0, n, step)]
    if len(blocks) < 2:
        for block in blocks:
            job(block)
    else:
        with single_threaded_products():
            deque(workers().map(job, blocks), maxlen=0)


@contextmanager
def single_threaded_products() -> Iterator[None]:
    """Let matrix products take one thread each, for their threads would take the processors from the blocks.

    The library's idle threads go on spinning for a while, so this belongs around all of a job, not each of its steps.
    """
    _PRODUCTS.enter()
    try:
        yield
    finally:
        _PRODUCTS.leave()


class _Products:
    """Limits the threads from the first of several concurrent jobs to the end of the last."""

    def __init__(self) -> None:
        self._lock, self._jobs = Lock(), 0

    def enter(self) -> None:
        with self._lock:
            if self._jobs == 0:
                self._limit = _libraries().limit(limits=1, user_api="blas")
            self._jobs += 1

    def leave(self) -> None:
        with self._lock:
            self._jobs -= 1
            if self._jobs == 0:
                self._limit.restore_original_limits()


_PRODUCTS = _Products()


@cache
def workers() -> ThreadPoolExecutor:
    """Return the threads that share the work, one a usable processor."""
    return ThreadPoolExecutor(available_cores(), thread_name_prefix="msde")


@cache
def _libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
