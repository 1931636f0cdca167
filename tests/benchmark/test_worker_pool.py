import operator
import os
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, cast

import pytest

from msde.benchmark.worker_pool import WorkerPool


def test_a_group_stays_in_one_process_and_a_death_costs_one_task():
    first, second, after = (partial(os.getpid) for _ in range(3))
    threads, fail, die = partial(os.getenv, "OMP_NUM_THREADS"), partial(int, "x"), partial(os._exit, 3)
    lanes: WorkerPool[Callable[[], Any], Any] = WorkerPool(operator.call, 2)
    found: dict[Any, Any] = dict(lanes.run([[first, threads, second], [fail, die, after]]))
    assert found[first] == found[second] != os.getpid()
    assert found[threads] == "1"
    assert isinstance(found[fail], ValueError)
    assert isinstance(found[die], RuntimeError)
    assert found[after] != os.getpid()


@pytest.mark.slow
def test_whoever_stops_asking_stops_the_work():
    tasks = [partial(time.sleep, 0.2) for _ in range(4)]
    lanes: WorkerPool[Callable[[], None], None] = WorkerPool(operator.call, 1)
    asked = cast(Generator[Any], lanes.run([tasks[:3], tasks[3:]]))
    assert next(asked) == (tasks[0], None)
    asked.close()
    with pytest.raises(StopIteration):
        next(asked)


def test_nothing_to_do_needs_no_process():
    assert list(WorkerPool(operator.call, 2).run([])) == []
