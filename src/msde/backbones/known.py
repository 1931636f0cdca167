"""The known backbones, as data."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

BUILT_IN = "efficientnet_lite0"

Entry = dict[str, Any]


@cache
def registry() -> dict[str, Entry]:
    """Return the known backbones: what ``registry.toml`` says, by name."""
    return tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8"))
