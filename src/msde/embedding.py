"""Images to embeddings: reading, resizing and inference side by side, in bounded memory.

Each worker takes a batch, reads its images and runs the network on them; neither waits for the other, and the
embedding of an image does not depend on the batch in which it is.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.backbones.session import EmbeddingSession, available_cores
from msde.errors import ImageError
from msde.images import read_pixels, to_input

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageSource = str | os.PathLike[str] | Image | NDArray[Any]

BATCH_SIZE = 8
_QUEUED_PER_WORKER = 2


@dataclass(frozen=True)
class Embedded:
    """One image after embedding.

    Parameters
    ----------
    name : str
        Path of the image, or its number where it has none.
    embedding : ndarray of shape (d,) or None
        Float32; None where the image could not be used.
    digest : bytes
        SHA-256 of the network's input, the same for the same pixels from any source; empty where there is none.
    error : str or None
        Why the image could not be used.
    """

    name: str
    embedding: NDArray[np.float32] | None
    digest: bytes
    error: str | None


def embed_images(
    session: EmbeddingSession, images: Iterable[ImageSource], workers: int | None = None
) -> Iterator[Embedded]:
    """Embed images in order.

    Parameters
    ----------
    session : EmbeddingSession
        The network.
    images : iterable of paths, Pillow images or arrays
        See :func:`msde.images.read_pixels`. Consumed no faster than it is embedded.
    workers : int, optional
        Batches worked on at once; by default the number of usable processors.

    Yields
    ------
    Embedded
        One an image, in the order of the images. An unreadable image yields its error; the others go on.
    """
    workers = workers or available_cores()
    numbered = enumerate(images)
    batches = iter(lambda: list(islice(numbered, BATCH_SIZE)), [])
    pending: deque[Future[list[Embedded]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="msde-embed") as pool:
        try:
            for batch in batches:
                pending.append(pool.submit(_embed_batch, session, batch))
                if len(pending) >= workers * _QUEUED_PER_WORKER:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _embed_batch(session: EmbeddingSession, batch: list[tuple[int, ImageSource]]) -> list[Embedded]:
    size = session.backbone.input_size
    pixels = np.empty((len(batch), 3, size, size), dtype=np.float32)
    errors: list[str | None] = []
    for slot, (_, source) in zip(pixels, batch, strict=True):
        try:
            to_input(read_pixels(source), size, out=slot)
            errors.append(None)
        except ImageError as error:
            slot[:] = 0
            errors.append(str(error))
    embeddings = session.embed(pixels)
    return [
        _finish(_name(number, source), slot, embedding, error)
        for (number, source), slot, embedding, error in zip(batch, pixels, embeddings, errors, strict=True)
    ]


def _finish(name: str, pixels: NDArray[np.float32], embedding: NDArray[np.float32], error: str | None) -> Embedded:
    if error is None and not np.isfinite(embedding).all():
        error = f"{name}: the backbone gives no finite embedding for it; check the image and the backbone"
    if error is not None:
        return Embedded(name, None, b"", error)
    return Embedded(name, embedding, hashlib.sha256(pixels.data).digest(), None)


def _name(number: int, source: ImageSource) -> str:
    return str(Path(source)) if isinstance(source, str | os.PathLike) else str(number)
