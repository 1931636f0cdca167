"""Files of torch tensors and of facts about them: safetensors, written whole or not at all. Needs torch."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msde.errors import OutputError, WeightsFileError
from msde.storage.bundle import umask

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]


def write_tensors(path: Path, tensors: Tensors, facts: Mapping[str, Any]) -> None:
    """Write tensors; an older file at the path stays whole until the new one is complete.

    Parameters
    ----------
    path : Path
    tensors : dict of str to Tensor
    facts : mapping of str
        What the file's metadata say, each anything that JSON can hold.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    unfinished = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        unfinished = Path(name)
        try:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                unfinished,
                {key: json.dumps(fact, sort_keys=True) for key, fact in facts.items()},
            )
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error)) from error
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.chmod(0o666 & ~umask())
        unfinished.replace(os.path.realpath(path))
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written: {reason}; make room or choose another place") from error
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Read what :func:`write_tensors` wrote.

    Raises
    ------
    WeightsFileError
        If the file is damaged or holds no such facts.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsFileError(f"{path}: cannot be read ({reason}); delete it to begin anew") from error
