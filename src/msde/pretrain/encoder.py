"""The file of a trained encoder, which `--backbone file:ENCODER` reads; docs/pretrain.md is its specification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msde.pretrain.network import Learner
from msde.pretrain.tensorfile import write_tensors


def write_encoder(path: Path, learner: Learner, story: Mapping[str, Any]) -> None:
    """Write an encoder's tensors and what has to be known to use them.

    Parameters
    ----------
    path : Path
        A new file, or an old one, which stays whole until the new one is complete.
    learner : Learner
    story : mapping
        How it came about, for those who read the file; anything that JSON can hold.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    state = learner.network.state_dict()
    tensors = {theirs: state[own] for own, theirs in learner.names.items()}
    write_tensors(path, tensors, {"msde_architecture": learner.description, "msde_pretrain": story})
