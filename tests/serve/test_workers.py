"""A worker process that ends is named and replaced, and one that is not replaced is told of."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import wait_until
from tests.serve.process import Process

from msde.serve import workers
from msde.serve.workers import Seats

HOLD = """
import sys, time
from pathlib import Path
from msde.serve.workers import Seats
seats = Seats(Path(sys.argv[1]), 2)
seats.take()
print("taken", flush=True)
time.sleep(600)
"""


def test_a_seat_that_stays_free_is_told_of(tmp_path, monkeypatch):
    seats = Seats(tmp_path, 2)
    seats.take()
    assert seats.are_taken()  # the other may be on its way
    monkeypatch.setattr(workers, "REPLACED_WITHIN", 0.0)
    assert not seats.are_taken()
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "taken\n"
        assert seats.are_taken()
        other.kill()
        other.wait()
    assert not seats.are_taken()
    seats.leave()


def test_one_process_needs_no_seat(tmp_path):
    assert Seats(tmp_path, 1).are_taken()
    assert os.listdir(tmp_path) == []


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced_and_the_log_says_by_what(disc_model, tmp_path):
    with Process(disc_model, tmp_path / "data", "--workers", "2") as process:

        def scoring() -> set[int]:
            return {pid for pid in process.pids() if b"spawn_main" in command(pid)}

        before = wait_until(lambda: found if len(found := scoring()) == 2 else None, "two processes")
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(scoring() - {killed}) == 2, "another process")
        assert process.ask("GET", "/api/images").status_code == 200
        lines = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
        told = [line for line in lines if line["event"] == "a worker process ended; another takes its place"]
        assert [(line["worker"], line["reason"]) for line in told] == [(killed, "SIGKILL")]
        process.stop()
