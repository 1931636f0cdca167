"""What a transformer gives for each patch, laid out as feature maps. Needs torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msde.backbones.backbone import MOST_LEVELS

if TYPE_CHECKING:
    import torch


def depths(n: int) -> list[int]:
    """Return the numbers, from 0, of at most four of n blocks: evenly spaced, the last one among them."""
    return sorted({math.ceil(n * step / MOST_LEVELS) - 1 for step in range(1, MOST_LEVELS + 1)})


def as_map(tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Lay the patches of tokens (n, prefix + h * w, c), the last ones, out as a map (n, c, h, w)."""
    return tokens[:, tokens.shape[1] - grid[0] * grid[1] :].transpose(1, 2).unflatten(2, grid)


def final_norm(run: Callable[[], object], network: Any, last: torch.Tensor) -> Any:
    """Find the layer that makes a network's last tokens of its last block's.

    Parameters
    ----------
    run : callable
        Runs the network once more, so that it gives these tokens.
    network : torch.nn.Module
        Whose layers are looked at.
    last : Tensor of shape (n, t, c)
        Its last tokens.

    Returns
    -------
    torch.nn.Module or None
        None where the last block's tokens are given as they are.
    """
    found: list[Any] = []

    def look(module: Any, _: Any, output: Any) -> None:
        if output.shape == last.shape and output.equal(last):
            found.append(module)

    norms = [module for module in network.modules() if "norm" in type(module).__name__.lower()]
    hooks = [module.register_forward_hook(look) for module in norms]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1] if found else None


def normalised(tokens: torch.Tensor, norm: Any) -> torch.Tensor:
    """Put the final norm, if there is one, on the tokens of a block before the last."""
    return tokens if norm is None else norm(tokens)
