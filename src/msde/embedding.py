"""Images to embeddings: reading, resizing and inference side by side, in bounded memory.

Each worker takes a batch, reads its images and runs the network on those whose embeddings are not kept from before; no
worker waits for another, and the embedding of an image does not depend on the batch in which it is.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.cache import EmbeddingCache
from msde.encoder import Encoder, EncoderSession
from msde.errors import ImageError
from msde.images import ImageRule, Part, expanded, read_pixels, to_input
from msde.parallel import available_cores

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageSource = str | os.PathLike[str] | Image | NDArray[Any]

BATCH_SIZE = 8
_QUEUED_PER_WORKER = 2
_DEFAULT_RULE = ImageRule()
# How ONNX Runtime and the allocators below it say that memory ran out; their errors have no type of their own.
_OUT_OF_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")


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
        SHA-256 of the networks' inputs, the same for the same pixels from any source; empty where there is none.
    error : str or None
        Why the image could not be used.
    volume : str or None
        Name of the volume, stack or slide that the image is a part of.
    peak : float
        The brightest pixel, in [0, 1].
    """

    name: str
    embedding: NDArray[np.float32] | None
    digest: bytes
    error: str | None
    volume: str | None = None
    peak: float = 0.0


def embed_images(
    session: EncoderSession,
    images: Iterable[ImageSource],
    workers: int | None = None,
    cache: EmbeddingCache | None = None,
    rule: ImageRule = _DEFAULT_RULE,
) -> Iterator[Embedded]:
    """Embed images in order.

    Parameters
    ----------
    session : EncoderSession
        The networks.
    images : iterable of paths, Pillow images or arrays
        See :func:`msde.images.read_pixels`. Consumed no faster than it is embedded. The path of a file that holds
        several images, such as a volume, stands for all of them.
    workers : int, optional
        Batches worked on at once; by default the number of usable processors.
    cache : EmbeddingCache, optional
        Where embeddings are looked up before the network runs, and kept after.
    rule : ImageRule, optional
        How files and arrays become pixels.

    Yields
    ------
    Embedded
        One an image, in the order of the images. An unreadable image yields its error; the others go on. Where memory
        runs out, a batch is worked on in halves; an image that is too much alone yields its error.
    """
    workers = workers or available_cores()
    numbered = enumerate(expanded(images))
    batches = iter(lambda: list(islice(numbered, BATCH_SIZE)), [])
    pending: deque[Future[list[Embedded]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="msde-embed") as pool:
        try:
            for batch in batches:
                pending.append(pool.submit(_embed_batch, session, cache, rule, batch))
                if len(pending) >= workers * _QUEUED_PER_WORKER:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _embed_batch(
    session: EncoderSession, cache: EmbeddingCache | None, rule: ImageRule, batch: list[tuple[int, ImageSource]]
) -> list[Embedded]:
    try:
        return _embed_at_once(session, cache, rule, batch)
    except Exception as error:
        if not _out_of_memory(error):
            raise
    # Out of the handler, for the error holds on to the memory that was taken.
    if len(batch) == 1:
        name, volume = _name(*batch[0]), _volume(batch[0][1])
        reason = f"{name}: out of memory even for this image alone; make it smaller or free memory"
        return [_unusable(name, reason, volume)]
    half = len(batch) // 2
    return _embed_batch(session, cache, rule, batch[:half]) + _embed_batch(session, cache, rule, batch[half:])


def _embed_at_once(
    session: EncoderSession, cache: EmbeddingCache | None, rule: ImageRule, batch: list[tuple[int, ImageSource]]
) -> list[Embedded]:
    encoder, dim = session.encoder, session.dim
    inputs = [np.empty((len(batch), 3, size, size), dtype=np.float32) for size in encoder.input_sizes]
    results: list[Embedded] = []
    missing: dict[int, bytes] = {}  # row -> key of what the networks have to see, in the first slots
    for number, source in batch:
        name, slots = _name(number, source), [pixels[len(missing)] for pixels in inputs]
        try:
            pixels = read_pixels(source, rule)
            for slot, size in zip(slots, encoder.input_sizes, strict=True):
                to_input(pixels, size, out=slot, aspect=rule.aspect)
        except ImageError as error:
            results.append(_unusable(name, str(error), _volume(source)))
            continue
        digest = _digest(slots)
        key = _key(encoder, digest) if cache else b""
        embedding = cache.get(key, dim) if cache else None
        if embedding is None:
            missing[len(results)] = key
        results.append(Embedded(name, embedding, digest, None, _volume(source), float(pixels.max())))
    readable = sum(image.error is None for image in results)
    embeddings = session.embed([pixels[: len(missing)] for pixels in inputs]) if missing else ()
    for (row, key), embedding in zip(missing.items(), embeddings, strict=True):
        image = results[row]
        if not np.isfinite(embedding).all():
            reason = f"{image.name}: the backbone gives no finite embedding for it; check the image and the backbone"
            results[row] = _unusable(image.name, reason, image.volume)
            continue
        results[row] = replace(image, embedding=embedding)
        if cache:
            cache.put(key, embedding)
    if cache:
        cache.count(readable, readable - len(missing))
    return results


def _digest(slots: Iterable[NDArray[np.float32]]) -> bytes:
    digest = hashlib.sha256()
    for slot in slots:
        digest.update(slot.data)
    return digest.digest()


def _key(encoder: Encoder, digest: bytes) -> bytes:
    """Give the key of an embedding: pixels and encoder decide it, and the runtime its last bits."""
    return hashlib.sha256(f"{encoder.sha256} onnxruntime {_runtime()}\n".encode() + digest).digest()


def _runtime() -> str:
    import onnxruntime  # not at the top, where it would come before the session has switched its telemetry off

    return str(onnxruntime.__version__)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _unusable(name: str, reason: str, volume: str | None) -> Embedded:
    return Embedded(name, None, b"", reason, volume)


def _volume(source: ImageSource) -> str | None:
    return source.volume if isinstance(source, Part) else None


def _name(number: int, source: ImageSource) -> str:
    return str(Path(source)) if isinstance(source, str | os.PathLike) else str(number)
