"""Embedding in a child process, image by image, for parts at which a worker died: it shows which image kills."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from msde.cluster.arrow import embeddings, embeddings_table, from_stream, to_stream
from msde.cluster.encoders import load_encoder
from msde.cluster.listing import Source, from_json, to_json
from msde.embedding.embed import Embedded, embed_images
from msde.errors import MSDEError
from msde.images import Part

KILLED = "kills the process that reads it"
TRIES = 2
_READY = b"ready"
_LENGTH = struct.Struct("<Q")


class Child:
    """A process that embeds an image at a time; raises MSDEError if it cannot start."""

    def __init__(self, model: Path, device: str) -> None:
        command = [sys.executable, "-m", "msde.cluster.isolated_embedding", str(model), device]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        assert self._process.stdout  # noqa: S101 - a pipe
        if self._process.stdout.read(len(_READY)) != _READY:  # or images would be blamed for it
            self.close()
            raise MSDEError(
                "the process that embeds image by image cannot start; look at the memory of the node and at its GPU"
            )

    def embed(self, source: Source) -> list[Embedded] | None:
        """Embed one image, or all parts of a file; None where the process dies of it."""
        assert self._process.stdin and self._process.stdout  # noqa: S101 - both are pipes
        try:
            self._process.stdin.write(to_json([source]).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        head = self._process.stdout.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack(head)
        content = self._process.stdout.read(length)
        return list(embeddings(from_stream(content))) if len(content) == length else None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def embed_guarded(model: Path, device: str, sources: Iterable[Source]) -> Iterator[Embedded]:
    """Embed local files in order; one that kills two processes gets an error instead."""
    child: Child | None = None
    try:
        for source in sources:
            images = None
            for _ in range(TRIES):
                child = child or Child(model, device)
                images = child.embed(source)
                if images is not None:
                    break
                child.close()
                child = None
            yield from [_killer(source)] if images is None else images
    finally:
        if child is not None:
            child.close()


def _killer(source: Source) -> Embedded:
    name = os.fspath(source)
    volume = source.volume if isinstance(source, Part) else None
    return Embedded(name, None, b"", f"{name}: {KILLED}; look into the file", volume)


def main() -> None:
    """Read a source a line, write its embeddings."""
    model, device = sys.argv[1:]
    # What a decoder prints must not get between the tables.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    session, rule = load_encoder(Path(model), device)
    answers.write(_READY)
    answers.flush()
    for line in sys.stdin.buffer:
        content = to_stream(embeddings_table(embed_images(session, from_json(line), 1, rule=rule)))
        answers.write(_LENGTH.pack(len(content)) + content)
        answers.flush()


if __name__ == "__main__":
    main()
