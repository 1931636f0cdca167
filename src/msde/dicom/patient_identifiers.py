"""Scores with identifiers, for tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from msde.dicom.scored import Scored
from msde.images.patient_identifiers import Identifiers
from msde.model.score import ImageScore


@dataclass(frozen=True)
class IdentifiedScore(Identifiers, ImageScore):
    """A score with the identifiers of what it is of."""


def identified(scored: Iterable[Scored]) -> Iterator[IdentifiedScore]:
    """Add identifiers to scores."""
    for one in scored:
        yield IdentifiedScore(**asdict(one.score), **asdict(Identifiers.of(*one.sources)))
