"""One worker of the cluster: a network in memory, and parts done one after the other."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from msde.cluster.arrow import embeddings_table, scores_table, to_parquet
from msde.cluster.encoders import load_encoder
from msde.cluster.isolated_embedding import KILLED, embed_guarded
from msde.cluster.job_folder import MODEL, JobFolder
from msde.cluster.prefetch import NOT_FETCHED, Prefetch
from msde.embedding.embed import embed_images
from msde.errors import MSDEError
from msde.model.anomaly_model import AnomalyModel

NOTE = "msde"
MOST_BEGUN = 20
# Kind of an error by its words; the first that occurs.
_KINDS = {NOT_FETCHED: "storage", KILLED: "killer", "out of memory": "memory", "": "image"}


@dataclass(frozen=True)
class Done:
    """What a part took; kept in its file."""

    part: int
    images: int  # listed ones
    rows: int  # in the file; a file of several pictures has more than one
    errors: dict[str, int]  # rows that have an error, by its kind: image, storage, killer or memory
    read: int  # size of the images in bytes
    seconds: float  # wall time
    core_seconds: float  # processor time, of children too

    def note(self) -> dict[str, str]:
        """Return what a Parquet file keeps."""
        return {NOTE: json.dumps(asdict(self))}

    @classmethod
    def from_notes(cls, notes: Mapping[bytes, bytes] | None) -> Self:
        """Read what `note` gave."""
        return cls(**json.loads((notes or {})[NOTE.encode()]))


class PartWorker:
    """Does parts of a job; `ray.data.Dataset.map_batches` calls it with their numbers."""

    def __init__(self, url: str, device: str) -> None:
        self._job, self._device = JobFolder.open(url), device
        if os.path.isdir(self._job.about["folder"]):
            os.chdir(self._job.about["folder"])  # where relative paths start
        with tempfile.TemporaryDirectory(prefix="msde-") as folder:
            file = self._model_file(Path(folder))
            self._session, self._rule = load_encoder(file, device)
            self._model = AnomalyModel.load(file, device=device) if self._job.kind == "score" else None

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, list[str]]:
        """Work on parts by their numbers; return what each took, as JSON."""
        done = [self.do(int(part)) for part in batch["item"]]
        return {"done": [json.dumps(part and asdict(part)) for part in done]}

    def do(self, part: int) -> Done | None:
        """Work on one part, unless it is done; raise MSDEError if `MOST_BEGUN` workers have died at it."""
        if self._job.is_finished(part):
            return None
        before = self._job.begin(part)
        if before >= MOST_BEGUN:
            self._job.begin_afresh(part)
            raise MSDEError(
                f"{self._job.storage.url}: {before} workers died at part {part}; look at the memory of the nodes, and"
                " start again"
            )
        start, cores = time.perf_counter(), _core_seconds()
        sources = self._job.sources(part)
        with tempfile.TemporaryDirectory(prefix="msde-") as folder:
            arrivals = Prefetch(sources, Path(folder))
            if before:
                embedded = embed_guarded(self._model_file(Path(folder)), self._device, arrivals)
            else:
                embedded = embed_images(self._session, arrivals, 1, rule=self._rule)
            named = arrivals.named(embedded)
            if self._model is None:
                table = embeddings_table(named)
            else:
                table = scores_table(self._model.score_embedded(named), self._model.fitted.columns)
        seconds = time.perf_counter() - start
        errors = dict(Counter(map(_kind, table.column("error").drop_null().to_pylist())))
        done = Done(part, len(sources), len(table), errors, arrivals.bytes, seconds, _core_seconds() - cores)
        self._job.finish(part, to_parquet(table, done.note()))
        return done

    def _model_file(self, folder: Path) -> Path:
        path = folder / MODEL
        path.write_bytes(self._job.storage.read(MODEL))
        return path


def _kind(error: str) -> str:
    return next(kind for words, kind in _KINDS.items() if words in error)


def _core_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
