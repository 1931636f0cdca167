"""A job as a folder: what is to be done, cut into parts, and a Parquet file for each part that is done.

::

    _job.json          what the job is: kind, model, inputs, size and number of the parts
    _model.msde        the model, or the encoder of a job that only embeds
    _input/000000.json the images of part 0, in order
    _started/000000    who is at work on part 0, or died at it
    parts/000000.parquet  the rows of part 0, in the order of its images
    _summary.json      figures of the whole job, when all parts are there

A part is done when its file is there, and a file is there whole or not at all; so whoever dies may be started again.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from msde.cluster.listing import Source, cut, from_json, identity, sources, to_json
from msde.cluster.storage import PartsFolder
from msde.errors import DataError

FORMAT = 1
MODEL = "_model.msde"
PARTS = "parts"
_ABOUT, _INPUT, _STARTED = "_job.json", "_input", "_started"
_SAME = ("format", "kind", "model", "inputs", "part_rows")


@dataclass(frozen=True)
class JobFolder:
    """A folder of parts to be done."""

    storage: PartsFolder
    # content of _job.json: kind ("score" or "embed"), what tells the model from others, inputs, part_rows, the number
    # of parts and of images, the SHA-256 of their list, and the folder that relative paths start from
    about: dict[str, Any]

    @classmethod
    def start(cls, url: str, kind: str, model: tuple[str, bytes], inputs: Sequence[str], part_rows: int) -> Self:
        """List the images of a new job, or take up one that was interrupted, with the list it was started with.

        `kind` is "score" or "embed", `model` what tells the model from others and the content of its file. Raises
        DataError if the folder holds another job or an input cannot be read, OutputError if it cannot be written to.
        """
        storage = PartsFolder(url)
        wanted = {
            "format": FORMAT,
            "kind": kind,
            "model": model[0],
            "inputs": [identity(entry) for entry in inputs],
            "part_rows": part_rows,
        }
        try:
            about = json.loads(storage.read(_ABOUT))
        except FileNotFoundError:
            return cls._list_images(storage, wanted, model[1], inputs)
        for name in _SAME:
            if about.get(name) != wanted[name]:
                raise DataError(
                    f"{storage.url}: holds another job (its {name} differs); give a new folder, or the arguments"
                    " of that job"
                )
        return cls(storage, about)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a job that was started."""
        storage = PartsFolder(url)
        return cls(storage, json.loads(storage.read(_ABOUT)))

    @classmethod
    def _list_images(cls, storage: PartsFolder, wanted: dict[str, Any], model: bytes, inputs: Sequence[str]) -> Self:
        if storage.names(PARTS):
            raise DataError(f"{storage.url}: holds parts but no {_ABOUT}; give a new folder")
        digest, images, number = hashlib.sha256(), 0, -1
        for number, part in enumerate(cut(sources(inputs), wanted["part_rows"])):
            text = to_json(part).encode()
            storage.write(f"{_INPUT}/{number:06}.json", text)
            digest.update(text)
            images += len(part)
        storage.write(MODEL, model)
        about = {
            **wanted,
            "images": images,
            "parts": number + 1,
            "list": digest.hexdigest(),
            "folder": os.getcwd(),
        }
        storage.write(_ABOUT, json.dumps(about, indent=2).encode())
        return cls(storage, about)

    @property
    def kind(self) -> str:
        """What is to be done."""
        return str(self.about["kind"])

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return int(self.about["parts"])

    def sources(self, part: int) -> list[Source]:
        """List the images of a part."""
        return from_json(self.storage.read(f"{_INPUT}/{part:06}.json"))

    def finished(self) -> list[int]:
        """List the parts that are done."""
        return [int(name.partition(".")[0]) for name in self.storage.names(PARTS)]

    def is_finished(self, part: int) -> bool:
        """Return whether a part is done."""
        return self.storage.exists(part_name(part))

    def begin(self, part: int) -> int:
        """Note that this process is at work on a part; return how many have begun it before."""
        name = f"{_STARTED}/{part:06}"
        try:
            before = int(json.loads(self.storage.read(name))["times"])
        except FileNotFoundError:
            before = 0
        note = {"times": before + 1, "host": socket.gethostname(), "pid": os.getpid()}
        self.storage.write(name, json.dumps(note).encode())
        return before

    def begin_afresh(self, part: int) -> None:
        """Forget how often a part was begun but that it was, so that another run of the job has its tries."""
        self.storage.write(f"{_STARTED}/{part:06}", json.dumps({"times": 1}).encode())

    def finish(self, part: int, table: bytes) -> None:
        """Put a part's Parquet file in its place."""
        self.storage.write(part_name(part), table)
        self.storage.remove(f"{_STARTED}/{part:06}")

    def open_part(self, part: int) -> Any:
        """Open a part's Parquet file; a context manager."""
        return self.storage.open(part_name(part))


def part_name(part: int) -> str:
    """Return the name of the file of a part."""
    return f"{PARTS}/{part:06}.parquet"
