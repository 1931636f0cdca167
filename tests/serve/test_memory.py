"""Memory is given back, and what is unpacked on the way is no memory."""

import os
import platform
import subprocess
import sys
import tempfile

import pytest

HOLD = """
from msde.serve.memory import Memory, resident, share_arenas
share_arenas()
memory = Memory()
memory.give_back()
before = resident()
blocks = [bytes(60_000) for _ in range(4000)]
kept = blocks[::40]
del blocks
after = resident()
memory.give_back()
print(before, after, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the malloc is glibc's")
def test_what_is_free_between_what_is_kept_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, check=True)
    before, held, left = map(int, done.stdout.split())
    assert held > before + 100_000_000
    assert left < before + 30_000_000


def test_what_is_unpacked_is_in_the_data_folder_while_the_service_runs(serve):
    before = tempfile.gettempdir()
    with serve() as served:
        assert tempfile.gettempdir() == os.fspath(served.service.store.incoming)
    assert tempfile.gettempdir() == before
