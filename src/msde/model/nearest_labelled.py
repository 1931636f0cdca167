"""Labelled abnormal images to compare with: of those that a model learnt from, the ones most like an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from msde.embedding.embed import Tick, ticking
from msde.errors import DataError
from msde.images import Part, expanded
from msde.method.arrays import IndexArray
from msde.method.scorers import LabelledScorer
from msde.model.anomaly_model import AnomalyModel
from msde.model.labels import Labels

if TYPE_CHECKING:
    from msde.embedding.embed import Embedded

SHOWN = 1


@dataclass(frozen=True, eq=False)
class NearestLabelled:
    """Labelled abnormal images, and which rows of the scorer they are.

    Parameters
    ----------
    sources : list of Path and Part
        The images that the model learnt from, copies left out.
    errors : list of str
        One line for each image that could not be used.
    others : list of str
        Names of images that the model did not learn from: it knows nothing of them, and they are not shown.
    scorer : LabelledScorer
    labels : Labels
    rows : ndarray of shape (n,), int
        Number of the labelled row of the scorer for each source.
    digests : list of bytes
        Of their pixels, as in :class:`msde.embedding.embed.Embedded`.
    """

    sources: list[Path | Part]
    errors: list[str]
    others: list[str]
    scorer: LabelledScorer = field(repr=False)
    labels: Labels = field(repr=False)
    rows: IndexArray
    digests: list[bytes]

    @classmethod
    def embed(cls, model: AnomalyModel, images: Iterable[Path | Part], tick: Tick | None = None) -> NearestLabelled:
        """Embed the images that were labelled at the fit.

        Parameters
        ----------
        model : AnomalyModel
            Fitted to labelled abnormal images.
        images : iterable of Path and Part
            As `find_images` lists them.
        tick : callable, optional
            Called after each image.

        Raises
        ------
        DataError
            If the model learnt from no labelled images, or from none of these.
        """
        labels, scorer = model.fitted.labels, model.scorer_
        if labels is None or not isinstance(scorer, LabelledScorer):
            raise DataError(
                "the model learnt from no labelled abnormal images, so there are none to compare with; leave them out,"
                " or fit with --abnormal"
            )
        listed = list(expanded(images))
        sources: list[Path | Part] = []
        errors: list[str] = []
        others: list[str] = []
        rows: dict[bytes, int] = {}
        for source, image in zip(listed, ticking(model.embed(listed), tick), strict=True):
            if image.embedding is None:
                errors.append(image.error or "")
            elif not labels.fingerprint.count_known([image.digest]):
                others.append(image.name)
            elif image.digest not in rows:
                # Its own row is the one to which its cosine is 1.
                rows[image.digest] = int(scorer.nearest(image.embedding[None])[0])
                sources.append(source)
        if not rows:
            first = errors[0] if errors else f"{others[0] if others else 'none'} is not among those of the fit"
            raise DataError(f"the model learnt from none of the labelled images to compare with; the first: {first}")
        return cls(sources, errors, others, scorer, labels, np.array(list(rows.values()), dtype=np.intp), list(rows))

    def nearest(self, image: Embedded) -> tuple[int, ...]:
        """Find the labelled images most like an image, which itself is none of them.

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
        cosines = self.scorer.cosines(image.embedding[None])[0, self.rows]
        order = np.argsort(-cosines, kind="stable")[: SHOWN + 1]
        return tuple(int(number) for number in order if self.digests[number] != image.digest)[:SHOWN]

    def kind(self, number: int) -> str | None:
        """Return the kind of an image by its number; None where none was given."""
        return self.labels.kind(int(self.rows[number]))
