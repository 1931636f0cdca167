"""Run the benchmarks of docs/performance.md one after the other, and write what they print to one file.

    python benchmarks/all.py CACHE [--official CHECKOUT] [-o performance-tables.md] [--only fit,score]

CACHE is the folder where the other benchmarks keep embeddings. Takes an hour at most: a part that takes longer than
its share is ended, and what it printed until then is kept and marked.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SET = "nih_cxr_pneumonia"


def parts(cache: str, official: str | None) -> dict[str, tuple[int, list[str]]]:
    """Return the minutes that each part may take, and its command."""
    checkout = ["--official", official] if official else []
    return {
        "engine": (12, ["engine.py", "--cache", cache, *checkout]),
        "growth": (20, ["growth.py"]),
        "fit": (3, ["commands.py", SET, "--only", "fit"]),
        "many": (11, ["commands.py", SET, "--only", "many"]),
        "score": (3, ["commands.py", SET, "--only", "score,start"]),
        "throughput": (3, ["throughput.py", SET]),
        "memory": (3, ["commands.py", SET, "--only", "memory"]),
        "runtimes": (3, ["runtimes.py", SET, "--rounds", "5"]),
        "reading": (2, ["reading.py"]),
        "peers": (2, ["peers.py", cache]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache")
    parser.add_argument("--official")
    parser.add_argument("-o", "--output", type=Path, default=Path("performance-tables.md"))
    parser.add_argument("--only")
    arguments = parser.parse_args()
    known = parts(arguments.cache, arguments.official)
    chosen = arguments.only.split(",") if arguments.only else list(known)
    with arguments.output.open("w") as file:
        file.write(f"{platform.platform()}, {os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}\n")
        for name in chosen:
            minutes, command = known[name]
            start = time.monotonic()
            print(f"{name}: {' '.join(command)}", file=sys.stderr, flush=True)
            file.write(f"\n## {name}\n\n`python benchmarks/{' '.join(command)}`\n\n")
            try:
                done = subprocess.run(
                    [sys.executable, HERE / command[0], *command[1:]],
                    capture_output=True,
                    text=True,
                    timeout=60 * minutes,
                )
                printed, ended = done.stdout, f"**failed**: {done.stderr.strip()[-300:]}" if done.returncode else ""
            except subprocess.TimeoutExpired as error:
                printed = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
                ended = f"**ended after {minutes} minutes**"
            file.write(f"{printed}\n{ended}\n{(time.monotonic() - start) / 60:.1f} minutes\n")
            file.flush()


if __name__ == "__main__":
    main()
