"""Normals to compare with, embedded by each model in the background."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from msde.embedding.cache import EmbeddingCache
from msde.errors import MSDEError
from msde.images import Part, find_images
from msde.model.anomaly_model import AnomalyModel
from msde.model.nearest_normals import NearestNormals
from msde.serve.errors import NotFound
from msde.serve.logs import log, log_failure
from msde.serve.models import Current, Models


class ReferenceNormals:
    """The normals of each model.

    Parameters
    ----------
    models : Models
    paths : sequence of str
        Folders, files or globs; none: nothing to compare with.
    folder : Path
        Where their embeddings are kept, and those of no other image.
    """

    def __init__(self, models: Models, paths: Sequence[str], folder: Path) -> None:
        self._models, self._paths = models, paths
        self._kept = EmbeddingCache(folder, warn=lambda line: log("warning", "embeddings cannot be kept"))
        self._normals: dict[str, NearestNormals] = {}
        self._stop = threading.Event()

    def embed(self) -> None:
        """Embed the normals by each model; an error is logged, and there is then nothing to compare with."""
        if not self._paths:
            return
        for current in self._models:
            try:
                model = self._models.version(current.version_id)
                keeping = AnomalyModel.of(model.fitted, model.session, self._kept)
                normals = NearestNormals.embed(keeping, find_images(self._paths), tick=self._go_on)
            except InterruptedError:
                return
            except (MSDEError, OSError) as error:
                log_failure("the normals to compare with cannot be used", error)
                continue
            self._normals[current.name] = replace(normals, model=model)
            log("info", "normals to compare with are ready", model=current.name, normals=len(normals.sources))

    def stop(self) -> None:
        """Stop embedding."""
        self._stop.set()

    def has(self, current: Current) -> bool:
        """Whether there are normals by now."""
        return current.name in self._normals

    def nearest(self, current: Current, source: Path | Part) -> tuple[int, ...]:
        """Find the numbers of the normals most like an image, the nearest first."""
        normals = self._normals.get(current.name)
        if normals is None:
            return ()
        return normals.nearest(next(iter(normals.model.embed([source]))))

    def source(self, current: Current, number: int) -> Path | Part:
        """Find a normal by its number.

        Raises
        ------
        NotFound
        """
        normals = self._normals.get(current.name)
        if normals is None or number >= len(normals.sources):
            raise NotFound(f"there is no normal {number} to compare with")
        return normals.sources[number]

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise InterruptedError
