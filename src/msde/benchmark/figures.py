"""Questions put to the lines of a journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.benchmark.config import Config
from msde.benchmark.journal import Line
from msde.benchmark.protocols import Condition
from msde.method.labelled import Labelled

_Key = tuple[str, str, str, str, Condition]


class Figures:
    """Figures by set, backbone, detector, protocol and condition; those of all seeds together.

    The config gives everything its order; cells with an error have no figures.
    """

    def __init__(self, config: Config, lines: Sequence[Line]) -> None:
        self.config = config
        self.lines = [line for line in lines if "error" not in line]
        self._by_key: dict[_Key, list[Line]] = defaultdict(list)
        for line in sorted(self.lines, key=lambda line: int(line["seed"])):
            key = (line["set"], line["backbone"], line["detector"], line["protocol"], line["condition"])
            self._by_key[key].append(line)

    @property
    def backbones(self) -> list[str]:
        """Names of the backbones that there is anything for."""
        seen = {line["backbone"] for line in self.lines}
        return [one.name for one in self.config.backbones if one.name in seen]

    def detectors(self, backbone: str, protocol: str) -> list[str]:
        """Names of the detectors measured so."""
        seen = self._names_of("detector", backbone, protocol)
        return [name for name in self.config.detectors if name in seen]

    def sets(self, backbone: str, protocol: str) -> list[str]:
        """Names of the sets measured so."""
        seen = self._names_of("set", backbone, protocol)
        return [one.name for one in self.config.sets if one.name in seen]

    def conditions(self, backbone: str, protocol: str) -> list[Condition]:
        """List the conditions measured, in the order of the file."""
        seen = self._names_of("condition", backbone, protocol)
        planned = [
            *(condition for one in self.config.protocols if one.name == protocol for condition in one.conditions),
            *(one.name for one in self.config.sets),  # those of cross-site
        ]
        return [condition for condition in planned if condition in seen]

    def values(
        self, figure: str, one: str, backbone: str, detector: str, protocol: str, condition: Condition
    ) -> list[float]:
        """List a figure over the seeds."""
        lines = self._by_key.get((one, backbone, detector, protocol, condition), [])
        return [float(line[figure]) for line in lines if figure in line]

    def mean(
        self, figure: str, one: str, backbone: str, detector: str, protocol: str, condition: Condition = None
    ) -> float:
        """Average a figure over the seeds; NaN where there is none."""
        values = self.values(figure, one, backbone, detector, protocol, condition)
        return float(np.mean(values)) if values else float("nan")

    def scores(self, one: str, backbone: str, detector: str, protocol: str) -> Labelled | None:
        """Return the scores of the test images with the first seed."""
        for line in self._by_key.get((one, backbone, detector, protocol, None), []):
            if "scores" in line:
                scores = line["scores"]
                return Labelled(
                    np.array(scores["values"], dtype=np.float64),
                    np.array(scores["abnormal"], dtype=bool),
                    np.array(scores["patients"], dtype=np.int64),
                )
        return None

    def matrix(self, backbone: str, protocol: str) -> tuple[list[str], NDArray[np.float64]]:
        """Return the detectors that were measured on every set, and their AUROCs (sets, detectors)."""
        sets, names = self.sets(backbone, protocol), self.detectors(backbone, protocol)
        means = [self.mean("auroc", one, backbone, name, protocol) for one in sets for name in names]
        table = np.array(means, dtype=np.float64).reshape(len(sets), len(names))
        whole = ~np.isnan(table).any(axis=0) if sets else np.zeros(len(names), dtype=bool)
        return [names[column] for column in np.flatnonzero(whole)], table[:, whole]

    def _names_of(self, what: str, backbone: str, protocol: str) -> set[Any]:
        return {line[what] for line in self.lines if line["backbone"] == backbone and line["protocol"] == protocol}
