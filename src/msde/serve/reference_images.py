"""Normals, and labelled abnormal images, to compare with: embedded by each model in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msde.embedding.cache import EmbeddingCache
from msde.errors import MSDEError
from msde.images import Part, find_images
from msde.model.anomaly_model import AnomalyModel
from msde.model.nearest_labelled import NearestLabelled
from msde.model.nearest_normals import NearestNormals
from msde.serve.errors import NotFound
from msde.serve.logs import log, log_failure
from msde.serve.models import Current, Models

Nearest = NearestNormals | NearestLabelled


@dataclass(frozen=True)
class Compared:
    """What images are compared with.

    Parameters
    ----------
    images : NearestNormals or NearestLabelled
    model : AnomalyModel
        That embedded them.
    """

    images: Nearest
    model: AnomalyModel = field(repr=False)


class ReferenceImages:
    """The images of one sort that each model compares with.

    Parameters
    ----------
    models : Models
    paths : callable
        Gives folders, files or globs by the name of a model; none: nothing to compare with.
    folder : Path
        Where their embeddings are kept, and those of no other image.
    sort : {NearestNormals, NearestLabelled}
        Models that learnt from no labels have nothing to do with the latter.
    """

    def __init__(
        self,
        models: Models,
        paths: Callable[[str], Sequence[str]],
        folder: Path,
        sort: type[NearestNormals] | type[NearestLabelled],
    ) -> None:
        self._models, self._paths, self._sort = models, paths, sort
        self._kept = EmbeddingCache(folder, warn=lambda line: log("warning", "embeddings cannot be kept"))
        self._compared: dict[str, Compared] = {}
        self._stop = threading.Event()

    def embed(self) -> None:
        """Embed the images by each model; an error is logged, and there is then nothing to compare with."""
        for current in self._models:
            paths = self._paths(current.name)
            if not paths:
                continue
            try:
                model = self._models.version(current.version_id)
                if self._sort is NearestLabelled and model.fitted.labels is None:
                    continue
                keeping = AnomalyModel.of(model.fitted, model.session, self._kept)
                images = self._sort.embed(keeping, find_images(paths), tick=self._go_on)
            except InterruptedError:
                return
            except (MSDEError, OSError) as error:
                log_failure("the images to compare with cannot be used", error)
                continue
            if isinstance(images, NearestLabelled) and images.others:
                n = len(images.others)
                log("warning", "labelled images that the model did not learn from", model=current.name, images=n)
            self._compared[current.name] = Compared(images, model)
            log("info", "images to compare with are ready", model=current.name, images=len(images.sources))

    def stop(self) -> None:
        """Stop embedding."""
        self._stop.set()

    def has(self, current: Current) -> bool:
        """Whether there are images by now."""
        return self._of(current) is not None

    def nearest(self, current: Current, source: Path | Part) -> tuple[int, ...]:
        """Find the numbers of those most like an image, the nearest first."""
        compared = self._of(current)
        if compared is None:
            return ()
        return compared.images.nearest(next(iter(compared.model.embed([source]))))

    def source(self, current: Current, number: int) -> Path | Part:
        """Find an image by its number.

        Raises
        ------
        NotFound
        """
        compared = self._of(current)
        if compared is None or number >= len(compared.images.sources):
            raise NotFound(f"there is no image {number} to compare with")
        return compared.images.sources[number]

    def kind(self, current: Current, number: int) -> str | None:
        """Return the kind of a labelled image by its number; None where none was given."""
        compared = self._of(current)
        return compared.images.kind(number) if compared and isinstance(compared.images, NearestLabelled) else None

    def _of(self, current: Current) -> Compared | None:
        """Return what a model compares with; None too where its version has learnt from other labels by now."""
        compared = self._compared.get(current.name)
        if compared is not None and isinstance(compared.images, NearestLabelled):
            labels = self._models.version(current.version_id).fitted.labels
            if labels is None or labels.fingerprint.sha256 != compared.images.labels.fingerprint.sha256:
                return None
        return compared

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise InterruptedError
