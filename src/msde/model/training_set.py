"""Embedded images of one kind before a fit or a calibration: those that can be used, and what became of the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Embedded
from msde.errors import DataError
from msde.method.calibration import grouped
from msde.method.volume_score import volume_score

_UNUSABLE = -1


@dataclass(frozen=True)
class TrainingSet:
    """Usable, distinct images of one kind, and what became of the others."""

    rows: NDArray[np.float32]
    names: list[str]
    digests: list[bytes]
    errors: list[str]
    n_copies: int
    volumes: dict[str, list[int]]  # the row of each one's parts, or _UNUSABLE
    peak: float

    @classmethod
    def collect(cls, embedded: Iterable[Embedded], kind: str, at_least: int) -> Self:
        """Collect embedded images of one kind, named in errors.

        Raises
        ------
        DataError
            If fewer than `at_least` different ones can be used.
        """
        rows: list[NDArray[np.float32]] = []
        names: list[str] = []
        digests: dict[bytes, int] = {}
        errors: list[str] = []
        n_copies = 0
        volumes: dict[str, list[int]] = {}
        peak = 0.0
        for image in embedded:
            if image.embedding is None:
                errors.append(image.error or "")
            elif image.digest in digests:  # a copy among the held-out normals would vouch for itself
                n_copies += 1
            else:
                digests[image.digest] = len(rows)
                rows.append(image.embedding)
                names.append(image.name)
            peak = max(peak, image.peak)
            if image.volume is not None:
                volumes.setdefault(image.volume, []).append(digests.get(image.digest, _UNUSABLE))
        if len(rows) < at_least:
            reason = f" ({errors[0]})" if errors else ""
            n = len(rows) + len(errors) + n_copies
            copies = f", {n_copies} are copies" if n_copies else ""
            raise DataError(
                f"{len(rows)} of {n} {kind} images can be used{copies}{reason}; give at least {at_least} of them"
            )
        return cls(np.stack(rows), names, list(digests), errors, n_copies, volumes, peak)

    @property
    def whole(self) -> list[list[int]]:
        """The volumes of which all parts can be used; of copies the first."""
        return list({tuple(sorted(rows)): rows for rows in self.volumes.values() if _UNUSABLE not in rows}.values())

    def volume_scores(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score the whole volumes by the scores of the rows; ascending."""
        return np.sort([volume_score(scores[rows]) for rows in self.whole])

    def groups(self, alpha: float) -> NDArray[np.intp] | None:
        """Return the number of each row's volume, or None where too few volumes are whole to flag one at this rate."""
        if int(alpha * (len(self.whole) + 1) + 1e-9) < 1:
            return None
        parts = [[row for row in rows if row != _UNUSABLE] for rows in self.volumes.values()]
        groups = grouped(len(self.rows), parts)
        return groups if groups.max() > 0 else None
