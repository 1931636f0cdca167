"""Images to embeddings: reading, resizing and inference side by side, in bounded memory.

Each worker takes a batch, reads its images and runs the network on those whose embeddings are not kept from before; no
worker waits for another, and the embedding of an image does not depend on the batch in which it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from msde.backbones.raw_maps import RawMaps
from msde.embedding.cache import Embeddings
from msde.embedding.encoder import EncoderSession
from msde.errors import ImageError
from msde.images import ImageRule, Part, expanded, read_squares
from msde.images.passing import note
from msde.method.parallel import in_order, single_threaded_products

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageSource = str | os.PathLike[str] | Image | NDArray[Any]

Tick = Callable[[], object]

_DEFAULT_RULE = ImageRule()
_LARGEST_KEPT = 2**20  # bytes of an image's maps: larger ones would drive embeddings of some kB out of the cache
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
    shape : tuple of int
        Height and width in pixels.
    maps : ndarray of shape (w,) or None
        Float32: what a `MapReader` made of the feature maps, where one was given that wanted them.
    source : path, Part, Pillow image, array or None
        What it was read from; an image in memory only where a `MapReader` was given, because it would stay there.
    """

    name: str
    embedding: NDArray[np.float32] | None
    digest: bytes
    error: str | None
    volume: str | None = None
    peak: float = 0.0
    shape: tuple[int, int] = (0, 0)
    maps: NDArray[np.float32] | None = None
    source: ImageSource | None = None


class MapReader(Protocol):
    """Makes a row of numbers of what the networks have seen of an image, in the pass that embeds it."""

    @property
    def key(self) -> bytes:
        """Tells rows of this reader from those of others, in a cache."""
        ...

    @property
    def width(self) -> int:
        """Length of a row."""
        ...

    def wants(self, digest: bytes) -> bool:
        """Return whether an image's row is of use."""
        ...

    def read(self, viewed: Mapping[str, RawMaps]) -> NDArray[np.float32]:
        """Make the rows of n images, (n, width); called from several threads at once."""
        ...


def embed_images(
    session: EncoderSession,
    images: Iterable[ImageSource],
    workers: int | None = None,
    cache: Embeddings | None = None,
    rule: ImageRule = _DEFAULT_RULE,
    reader: MapReader | None = None,
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
    cache : Embeddings, optional
        Where embeddings are looked up before the network runs, and kept after.
    rule : ImageRule, optional
        How files and arrays become pixels.
    reader : MapReader, optional
        Reads the feature maps.

    Yields
    ------
    Embedded
        One an image, in the order of the images. An unreadable image yields its error; the others go on. Where memory
        runs out, a batch is worked on in halves; an image that is too much alone yields its error.
    """
    numbered = enumerate(expanded(images))
    batches = iter(lambda: list(islice(numbered, session.batch)), [])
    run = _Run(session, cache, rule, reader)
    # Around all of the job: threads of matrix products that were let loose between two batches would go on spinning.
    with single_threaded_products() if reader else nullcontext():
        for results in in_order(lambda batch: _embed_batch(run, batch), batches, workers):
            yield from results


@dataclass(frozen=True)
class _Run:
    """What all batches share."""

    session: EncoderSession
    cache: Embeddings | None
    rule: ImageRule
    reader: MapReader | None

    def kept(self, key: bytes, width: int) -> NDArray[np.float32] | None:
        return None if self.cache is None else self.cache.get(key, width)

    def keep(self, key: bytes, row: NDArray[np.float32]) -> None:
        if self.cache is not None:
            self.cache.put(key, row)

    def embed(
        self, inputs: Sequence[NDArray[np.float32]], with_maps: bool
    ) -> tuple[NDArray[np.float32], Sequence[NDArray[np.float32] | None]]:
        """Return a row for the embedding of each image, and one for its maps, or None."""
        if self.reader is None or not with_maps:
            return self.session.embed(inputs), [None] * len(inputs[0])
        rows, viewed = self.session.embed_and_view(inputs)
        return rows, list(self.reader.read(viewed))


def _embed_batch(run: _Run, batch: list[tuple[int, ImageSource]]) -> list[Embedded]:
    try:
        return _embed_at_once(run, batch)
    except Exception as error:
        if not _out_of_memory(error):
            raise
        note(MemoryError())
    # Out of the handler, because the error holds on to the memory that was taken.
    if len(batch) == 1:
        number, source = batch[0]
        name = _name(number, source)
        reason = f"{name}: out of memory even for this image alone; make it smaller or free memory"
        return [_unusable(name, reason, source)]
    half = len(batch) // 2
    return _embed_batch(run, batch[:half]) + _embed_batch(run, batch[half:])


def _embed_at_once(run: _Run, batch: list[tuple[int, ImageSource]]) -> list[Embedded]:
    encoder, rule, reader = run.session.encoder, run.rule, run.reader
    inputs = [np.empty((len(batch), 3, size, size), dtype=np.float32) for size in encoder.input_sizes]
    results: list[Embedded] = []
    missing: dict[int, tuple[bytes, bytes | None]] = {}  # rows that the networks have to see, in the first slots
    for number, source in batch:
        name, slots = _name(number, source), [pixels[len(missing)] for pixels in inputs]
        try:
            shape, peak = read_squares(source, slots, rule)
        except ImageError as error:
            results.append(_unusable(name, str(error), source))
            continue
        digest = _digest(slots)
        key = _key(run.session, digest)
        key_of_maps = _key(run.session, digest, reader.key) if reader and reader.wants(digest) else None
        kept = source if reader or isinstance(source, str | os.PathLike) else None
        embedding = run.kept(key, run.session.dim)
        maps = run.kept(key_of_maps, reader.width) if reader and key_of_maps else None
        if embedding is None or (maps is None and key_of_maps):
            missing[len(results)] = key, key_of_maps
        results.append(Embedded(name, embedding, digest, None, _volume(source), peak, shape, maps, kept))
    readable = sum(image.error is None for image in results)
    if missing:
        with_maps = any(key_of_maps for _, key_of_maps in missing.values())
        embeddings, read = run.embed([pixels[: len(missing)] for pixels in inputs], with_maps)
    else:
        embeddings, read = np.empty((0, 0), np.float32), []
    for (row, (key, key_of_maps)), embedding, maps in zip(missing.items(), embeddings, read, strict=True):
        image = results[row]
        if not np.isfinite(embedding).all():
            reason = f"{image.name}: the backbone gives no finite embedding for it; check the image and the backbone"
            results[row] = _unusable(image.name, reason, batch[row][1])
            continue
        results[row] = replace(image, embedding=embedding, maps=maps if key_of_maps else None)
        run.keep(key, embedding)
        if maps is not None and key_of_maps and maps.nbytes <= _LARGEST_KEPT:
            run.keep(key_of_maps, maps)
    if run.cache is not None:
        run.cache.count(readable, readable - len(missing))
    return results


def _digest(slots: Iterable[NDArray[np.float32]]) -> bytes:
    digest = hashlib.sha256()
    for slot in slots:
        digest.update(slot.data)
    return digest.digest()


def _key(session: EncoderSession, digest: bytes, reader: bytes = b"") -> bytes:
    """Return the key of an embedding: decided by pixels, encoder and runtime (its last bits); or of a map's row."""
    return hashlib.sha256(f"{session.encoder.sha256} {session.runtime}\n".encode() + digest + reader).digest()


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _unusable(name: str, reason: str, source: ImageSource) -> Embedded:
    return Embedded(name, None, b"", reason, _volume(source), source=source)


def _volume(source: ImageSource) -> str | None:
    return source.volume if isinstance(source, Part) else None


def _name(number: int, source: ImageSource) -> str:
    if isinstance(source, str | os.PathLike):
        return str(Path(source))
    return getattr(source, "name", "") or str(number)


def ticking(embedded: Iterable[Embedded], tick: Tick | None) -> Iterator[Embedded]:
    """Pass images on and call `tick`, where there is one, after each."""
    for image in embedded:
        yield image
        if tick is not None:
            tick()
