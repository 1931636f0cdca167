"""How a network's weights are kept in the model file, where that was not asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msde.cli.progress import remark, tell

if TYPE_CHECKING:
    from msde.backbones import Backbone


def stored(network: Backbone, half: bool | None) -> Backbone:
    """Store a network's weights in half precision: where asked to, or where it is large and can be."""
    from msde.backbones.half import LARGE, megabytes, with_half_weights
    from msde.errors import BackboneError

    if half is False or (half is None and megabytes(network) * 1e6 <= LARGE):
        return network
    try:
        halved = with_half_weights(network)
    except BackboneError as error:
        if half:
            raise
        tell(f"{error}; its weights are stored as they are")
        return network
    remark(f"weights of {network.name} in half precision: {megabytes(halved):.0f} MB, not {megabytes(network):.0f}")
    return halved
