"""Memory is given back, and what is unpacked on the way is no memory."""

import os
import platform
import subprocess
import sys
import tempfile

import pytest

from msde.serve.memory import Memory

HOLD = """
from msde.serve.memory import Memory, resident, share_arenas
share_arenas()
memory, asked = Memory(lambda: asked.append(1)), []
memory.look()
before = resident()
blocks = [bytes(60_000) for _ in range(4000)]
kept = blocks[::40]
del blocks
after = resident()
memory.look()
print(before, after, resident(), len(asked))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the malloc is glibc's")
def test_what_is_free_between_what_is_kept_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, check=True)
    before, held, left, asked = map(int, done.stdout.split())
    assert held > before + 100_000_000
    assert left < before + 30_000_000
    assert asked == 1


def test_it_is_not_given_back_while_it_is_no_more_than_it_was(monkeypatch):
    asked: list[int] = []
    memory = Memory(lambda: asked.append(1))
    for held in (100, 100, 129, 131, 500, 90):
        monkeypatch.setattr("msde.serve.memory.resident", lambda held=held: held * 10**6)
        memory.look()
    assert len(asked) == 1  # and not again before some seconds have passed
    monkeypatch.setattr("msde.serve.memory.resident", lambda: 121 * 10**6)
    monkeypatch.setattr(memory, "_next", 0.0)
    memory.look()
    assert len(asked) == 2


def test_what_is_unpacked_is_in_the_data_folder_while_the_service_runs(serve):
    before = tempfile.gettempdir()
    with serve() as served:
        assert tempfile.gettempdir() == os.fspath(served.service.store.incoming)
    assert tempfile.gettempdir() == before
