import subprocess
import sys

import pytest

CODE = """
import numpy as np

from msde.benchmark.memory import forget_peak, peak_megabytes

forget_peak()
before = peak_megabytes()
block = np.ones(25_000_000)
print(peak_megabytes() - before)
del block
forget_peak()
print(peak_megabytes() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a peak that can be forgotten")
def test_a_peak_is_seen_and_forgotten():
    # In a process of its own, since the system takes pages away from a large one meanwhile.
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    peak, forgotten = map(float, done.stdout.split())
    assert peak > 150
    assert forgotten < 100
