"""Normal images to compare with: those most like an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Tick, ticking
from msde.errors import DataError
from msde.images import Part, expanded
from msde.model.anomaly_model import AnomalyModel

if TYPE_CHECKING:
    from msde.embedding.embed import Embedded

SHOWN = 3


@dataclass(frozen=True, eq=False)
class NearestNormals:
    """Normal images and where they lie among the features that a model looks at.

    Parameters
    ----------
    sources : list of Path and Part
        The images that can be used, copies left out.
    errors : list of str
        One line for each image that could not be used.
    model : AnomalyModel
        Its standardiser brings all features to one scale, that of the training normals.
    rows : ndarray of shape (n, d), float32
        Standardised embeddings.
    digests : list of bytes
        Of their pixels, as in :class:`msde.embedding.embed.Embedded`.
    """

    sources: list[Path | Part]
    errors: list[str]
    model: AnomalyModel
    rows: NDArray[np.float32]
    digests: list[bytes]

    @classmethod
    def embed(cls, model: AnomalyModel, images: Iterable[Path | Part], tick: Tick | None = None) -> NearestNormals:
        """Embed normal images.

        Parameters
        ----------
        model : AnomalyModel
            Fitted.
        images : iterable of Path and Part
            As `find_images` lists them.
        tick : callable, optional
            Called after each image.

        Raises
        ------
        DataError
            If none of the images can be used.
        """
        listed = list(expanded(images))
        sources: list[Path | Part] = []
        errors: list[str] = []
        rows: dict[bytes, NDArray[np.float32]] = {}
        for source, image in zip(listed, ticking(model.embed(listed), tick), strict=True):
            if image.embedding is None:
                errors.append(image.error or "")
            elif image.digest not in rows:
                rows[image.digest] = _standardised(model, image.embedding)
                sources.append(source)
        if not rows:
            raise DataError(f"none of the normals to compare with can be used; the first: {errors[0]}")
        return cls(sources, errors, model, np.stack(list(rows.values())), list(rows))

    def nearest(self, image: Embedded) -> tuple[int, ...]:
        """Find the normals most like an image, which itself is none of them.

        Parameters
        ----------
        image : Embedded
            With an embedding.

        Returns
        -------
        tuple of int
            Their numbers, the nearest first, at most `SHOWN`.
        """
        if image.embedding is None:
            return ()
        offsets = self.rows - _standardised(self.model, image.embedding)
        distances = np.einsum("ij,ij->i", offsets, offsets)
        order = np.argsort(distances, kind="stable")[: SHOWN + 1]
        return tuple(int(number) for number in order if self.digests[number] != image.digest)[:SHOWN]


def _standardised(model: AnomalyModel, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    scorer: Any = model.scorer_
    return np.asarray(scorer.standardizer.apply(embedding[None])[0], dtype=np.float32)
