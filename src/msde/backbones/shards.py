"""Weights that lie in several files, as an index beside them tells."""

from __future__ import annotations

import json
import re
from pathlib import Path

from msde.errors import WeightsFileError

INDEX = ".index.json"  # ends the index's name
ONE_OF_SEVERAL = re.compile(r"-\d{5}-of-(?!00001)\d{5}\.")


def named(index: Path) -> list[str]:
    """Return the names of the files of an index, in its order.

    Raises WeightsFileError if it cannot be read, or names files outside its folder.
    """
    try:
        names = list(dict.fromkeys(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        for name in names:
            index.with_name(name)  # raises on a path
        return names
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsFileError(f"{index}: is no index of weights ({error!r}); fetch it again") from error


def shards(index: Path) -> list[Path]:
    """Return the files of an index, in its order; raise WeightsFileError as `named`, or if some are missing."""
    paths = [index.with_name(name) for name in named(index)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing or not paths:
        files = ", ".join(missing) or "the files of weights"
        raise WeightsFileError(f"{index}: {files} of it are missing; fetch them into the same folder")
    return paths


def check_whole(path: Path) -> None:
    """Raise WeightsFileError if a file's name tells that it is one of several."""
    if ONE_OF_SEVERAL.search(path.name):
        raise WeightsFileError(f"{path}: is one of several files of weights; pass their folder, with the index")
