"""What was tried and lost, next to what was kept, as Markdown tables (docs/ideas.md).

Run: python benchmarks/ideas.py CACHE_FOLDER [--only A]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this as it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ideas_features
import ideas_normals
import ideas_pools
import ideas_scores
import ideas_weights

TABLES = {
    "A": ideas_scores.print_table,
    "B": ideas_features.print_table,
    "C": ideas_pools.print_table,
    "D": ideas_weights.print_table,
    "E": ideas_normals.print_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--only", choices=TABLES)
    arguments = parser.parse_args()
    for letter in arguments.only or TABLES:
        print(f"\nTable {letter}\n")
        TABLES[letter](arguments.cache)


main()
