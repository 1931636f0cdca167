"""Files of torch tensors and of facts about them: safetensors, written whole or not at all. Needs torch."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msde.errors import WeightsFileError
from msde.storage.atomic import writing

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]


def write_tensors(path: Path, tensors: Tensors, facts: Mapping[str, Any]) -> None:
    """Write tensors, and facts that JSON can hold as the file's metadata; raise OutputError if that fails.

    An older file at the path stays whole until the new one is complete.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with writing(path) as unfinished:
        try:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                unfinished,
                {key: json.dumps(fact, sort_keys=True) for key, fact in facts.items()},
            )
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error)) from error


def read_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Read what :func:`write_tensors` wrote; raise WeightsFileError if it is damaged or holds no such facts."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsFileError(f"{path}: cannot be read ({reason}); delete it to begin anew") from error
