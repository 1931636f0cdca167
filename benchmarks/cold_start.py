"""Wall time and peak memory of `msde score MODEL IMAGE`, each run a process of its own.

Run: python benchmarks/cold_start.py MODEL.msde IMAGE [N]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

command = [Path(sys.executable).with_name("msde"), "score", *sys.argv[1:3]]
seconds, megabytes = [], []
for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 7):
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("the command failed")
    seconds.append(time.perf_counter() - start)
    megabytes.append(usage.ru_maxrss / 1024)
print(f"wall: median {np.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
print(f"peak memory: {max(megabytes):.0f} MB")
