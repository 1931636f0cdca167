"""The file of a trained encoder, which `--backbone file:ENCODER` reads; docs/pretrain.md is its specification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msde.pretrain.network import Learner
from msde.pretrain.tensorfile import write_tensors


def write_encoder(path: Path, learner: Learner, story: Mapping[str, Any]) -> None:
    """Write an encoder's tensors and what has to be known to use them; raise OutputError if that fails.

    An old file stays whole until the new one is complete. The story tells those who read the file how it came about.
    """
    state = learner.network.state_dict()
    tensors = {theirs: state[own] for own, theirs in learner.names.items()}
    write_tensors(path, tensors, {"msde_architecture": learner.description, "msde_pretrain": story})
