"""Memory is given back, and what is unpacked on the way is no memory."""

import os
import platform
import subprocess
import sys
import tempfile

import pytest

from msde.serve.memory import Memory

HOLD = """
from msde.serve.memory import Memory, resident, keep_little
keep_little()
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

LARGE = """
import ctypes
from msde.serve.memory import keep_little, resident
if {little}:
    assert keep_little()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resident()
libc.free(libc.malloc(30_000_000))
block = libc.malloc(20_000_000)
ctypes.memset(block, 1, 20_000_000)
above = libc.malloc(100_000)
libc.free(block)
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the malloc is glibc's")
@pytest.mark.parametrize("little", [True, False])
def test_large_blocks_go_back_whatever_was_freed_before(little, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(variable)  # set by a command that ran in this process
    script = LARGE.format(little=little)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (int(done.stdout) < 10_000_000) is little


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
