"""A look at an image: what is done to its pixels before a network sees them, and what is kept of its feature maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.errors import BackboneError

Floats = NDArray[np.float32]

OWN = "own"
CLS = "cls"
DARKEST, BRIGHTEST = 0.01, 0.99
FLATTEST = 1e-3
_POWER = 3.0


def plain(batch: Floats) -> Floats:
    """Leave images of shape (n, 3, s, s) as they are."""
    return batch


def mirrored(batch: Floats) -> Floats:
    """Swap left and right."""
    return np.ascontiguousarray(batch[..., ::-1])


def stretched(batch: Floats) -> Floats:
    """Stretch each image from its 1 % to its 99 % quantile over [0, 1], all colours alike.

    The quantiles are those of every other row and column.
    """
    # Of gray images one colour stands for all three, whose quantiles are the same: a third of the work.
    gray = np.array_equal(batch[:, :1], batch[:, 1:2]) and np.array_equal(batch[:, :1], batch[:, 2:])
    shown = batch[:, :1] if gray else batch
    sample = shown[..., ::2, ::2].reshape(len(batch), -1)
    n_values = 3 * sample.shape[1] if gray else sample.shape[1]
    places = [round(quantile * (n_values - 1)) // (3 if gray else 1) for quantile in (DARKEST, BRIGHTEST)]
    low, high = np.partition(sample, places, axis=1)[:, places].T[..., None, None, None]
    whole = np.empty_like(batch)
    seen = np.subtract(shown, low, out=whole[:, : shown.shape[1]])
    seen /= np.maximum(high - low, FLATTEST)
    np.clip(seen, 0, 1, out=seen)
    whole[:, seen.shape[1] :] = seen[:, :1]
    return whole


def mean(maps: Floats) -> Floats:
    """Average feature maps of shape (n, c, h, w) over the image."""
    return maps.mean(axis=(2, 3))


def deviation(maps: Floats) -> Floats:
    """Measure how much feature maps vary over the image, as a standard deviation."""
    return maps.std(axis=(2, 3))


def largest(maps: Floats) -> Floats:
    """Take the largest value of each feature map."""
    return maps.max(axis=(2, 3))


def generalised_mean(maps: Floats) -> Floats:
    """Average the third powers of what is positive (GeM; Radenovic, Tolias, Chum, TPAMI 2018)."""
    return np.asarray((np.maximum(maps, 0) ** _POWER).mean(axis=(2, 3)) ** (1 / _POWER))


VIEWS: dict[str, Callable[[Floats], Floats]] = {"plain": plain, "mirrored": mirrored, "stretched": stretched}
POOLINGS: dict[str, Callable[[Floats], Floats]] = {
    "mean": mean,
    "std": deviation,
    "max": largest,
    "gem": generalised_mean,
}


@dataclass(frozen=True)
class FeatureSpec:
    """One look at an image.

    Written ``VIEW+VIEW:POOLING+POOLING:LEVEL+LEVEL``, such as ``plain:mean+std`` or ``plain+mirrored:own``.

    Parameters
    ----------
    views : tuple of str
        What is done to the pixels, of `VIEWS`; what is kept is averaged over them.
    poolings : tuple of str
        How feature maps are summed up, of `POOLINGS`, or "cls" for the class token of a transformer at that depth; the
        results stand side by side, those of a level scaled to unit length. Or "own" alone: the network's own
        embedding, as for a network without feature maps.
    levels : tuple of str
        Feature maps that are used, such as "level2"; empty for all.
    """

    views: tuple[str, ...] = ("plain",)
    poolings: tuple[str, ...] = (OWN,)
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is not known."""
        for word, known in ((self.views, VIEWS), (self.poolings, (OWN, CLS, *POOLINGS))):
            for name in word or ("",):
                if name not in known:
                    raise BackboneError(f"look {self}: unknown {name!r}; known are {', '.join(known)}")
        if OWN in self.poolings and (len(self.poolings) > 1 or self.levels):
            raise BackboneError(f"look {self}: {OWN!r}, the network's own embedding, cannot be mixed with levels")

    def __str__(self) -> str:
        words = ["+".join(self.views), "+".join(self.poolings)] + (["+".join(self.levels)] if self.levels else [])
        return ":".join(words)

    @classmethod
    def parse(cls, text: str) -> FeatureSpec:
        """Read what `str` writes.

        Raises
        ------
        BackboneError
            If the text is no look.
        """
        words = [tuple(word.split("+")) for word in text.split(":")]
        if not 2 <= len(words) <= 3:
            raise BackboneError(f"look {text!r}: is not VIEW:POOLING or VIEW:POOLING:LEVEL, such as plain:mean+std")
        return cls(*words)
