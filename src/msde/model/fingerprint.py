"""Which images a model was trained on, without saying which: salted digests."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Fingerprint:
    """The training images as salted, shortened digests.

    Parameters
    ----------
    salt : str
        Random, in hexadecimal; makes the digests of one model useless for looking up images elsewhere.
    n_normals : int
        How many of the images are normals; the others are the unlabelled pool.
    digests : ndarray of shape (n,), uint64
        Salted digests of all images, ascending.
    pooled : ndarray of shape (n,), bool, or None
        Which of them are of the pool; None where there is none, and in older model files.
    """

    salt: str
    n_normals: int
    digests: NDArray[np.uint64]
    pooled: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, normals: Sequence[bytes], pool: Sequence[bytes] = ()) -> Fingerprint:
        """Compute the fingerprint of images by their digests (see :class:`msde.embedding.embed.Embedded`)."""
        salt = secrets.token_hex(16)
        digests = _salted(salt, [*normals, *pool])
        order = np.argsort(digests, kind="stable")
        return cls(salt, len(normals), digests[order], order >= len(normals) if pool else None)

    @property
    def sha256(self) -> str:
        """Digest of the whole set, in hexadecimal; independent of the order of the images."""
        return hashlib.sha256(self.digests.astype("<u8").tobytes()).hexdigest()

    def known(self, image_digests: Sequence[bytes]) -> NDArray[np.bool_]:
        """Tell which images (n,) are among the training images."""
        return _among(_salted(self.salt, image_digests), self.digests)

    def count_known(self, image_digests: Sequence[bytes]) -> int:
        """Count those images that are among the training images."""
        return int(self.known(image_digests).sum())

    def count_pooled(self, image_digests: Sequence[bytes]) -> int:
        """Count those images that are among the unlabelled pool, as far as the model file tells."""
        pool = self.digests[:0] if self.pooled is None else self.digests[self.pooled]
        return int(_among(_salted(self.salt, image_digests), pool).sum())


def _among(values: NDArray[np.uint64], ascending: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell which values are among others; `np.isin` would import masked arrays, a twentieth of a cold start."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    return np.asarray(ascending[np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)] == values)


def _salted(salt: str, image_digests: Sequence[bytes]) -> NDArray[np.uint64]:
    prefix = bytes.fromhex(salt)
    short = [hashlib.sha256(prefix + digest).digest()[:8] for digest in image_digests]
    return np.frombuffer(b"".join(short), dtype="<u8").astype(np.uint64)
