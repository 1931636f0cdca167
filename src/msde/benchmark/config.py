"""What a benchmark is to measure, read from a TOML file and checked before any work."""

from __future__ import annotations

import os
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msde.backbones.known import registry
from msde.benchmark.detectors import find_detector
from msde.benchmark.protocols import PROTOCOLS, Condition
from msde.embedding.encoder import DEFAULT_LOOKS
from msde.embedding.feature_spec import FeatureSpec
from msde.errors import BackboneError, DataError

FEWEST_DRAWS = 5
PUBLISHED = Path(__file__).with_name("published.toml")
_FOR_SHARES = ("prevalence", "contamination")
_FOR_LABELS = ("few-labels", "open-set")


@dataclass(frozen=True)
class SetPlan:
    """A data set: its folder below the data folder, and what is known of it."""

    name: str
    folder: str
    modality: str  # sets of one modality are put to each other in the protocol cross-site
    # regular expression that finds in a file's name what tells the patient; without one each image (or volume) is a
    # patient of its own
    patient: str | None
    # ascending numbers at which another patient begins, for names that only count the images: `patient` then finds the
    # number; empty where what it finds is the patient
    starts: tuple[int, ...]
    published: Mapping[str, float]  # figures to stand beside, "auroc" and "ap"
    # regular expression that finds in a file's name what tells the kind of an abnormal image, in its first group if it
    # has one; without one folders tell it, where the abnormal images lie in several
    kind: str | None = None

    def kind_of(self, file_name: str) -> str:
        """Return what of a file's name tells the kind, in small letters; empty where nothing does."""
        found = re.search(self.kind, file_name) if self.kind else None
        return "" if found is None else (found.group(1 if found.re.groups else 0) or "").lower()

    def patient_of(self, file_name: str) -> str | None:
        """Return what of a file's name tells the patient, or None where nothing does.

        Raises DataError if there are `starts` and what was found is no number.
        """
        found = re.search(self.patient, file_name) if self.patient else None
        if found is None or not self.starts:
            return found and found.group()
        if not found.group().isdecimal():
            raise DataError(f"sets.{self.name}.patient finds {found.group()!r}, but starts need a number; correct it")
        return str(bisect_right(self.starts, int(found.group())))


@dataclass(frozen=True)
class BackbonePlan:
    """Networks and looks that make an embedding."""

    name: str
    networks: tuple[str, ...]
    looks: tuple[str, ...]
    checkpoint: str = ""  # local file or folder of the weights, of one network that is not built in


@dataclass(frozen=True)
class ProtocolPlan:
    """A protocol, its conditions and the detectors that it is for."""

    name: str
    conditions: tuple[Condition, ...]
    detectors: tuple[str, ...]


@dataclass(frozen=True)
class Config:
    """All of a benchmark."""

    title: str
    sets: tuple[SetPlan, ...]
    backbones: tuple[BackbonePlan, ...]
    detectors: tuple[str, ...]  # the first is the one that the others are compared with
    protocols: tuple[ProtocolPlan, ...]
    draws: int  # seeds of whatever is random, at least five
    alpha: float  # target false-alarm rate of the protocol cross-site
    select: bool  # whether to report as well what a choice by AUCp, without labels, would have given
    remark: str  # what is to be known of the sets or the settings


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a benchmark's TOML file; docs/benchmark.md describes it.

    Raises DataError if the file is missing, is no TOML, or something in it is unknown, missing or out of range; the
    line names it.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; give a benchmark's TOML file, such as benchmarks/shared.toml"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        return _config(_Table(table, ""))
    except (DataError, BackboneError) as error:
        raise DataError(f"{path}: {error}") from error


def with_weights(config: Config, checkpoint: Path) -> Config:
    """Give local weights to the one backbone of a benchmark that would fetch its own.

    Raises DataError if there is not exactly one.
    """
    waiting = [plan.name for plan in config.backbones if not plan.checkpoint and any(map(_is_fetched, plan.networks))]
    if len(waiting) != 1:
        raise DataError(
            f"--checkpoint is of one backbone that needs weights, and {len(waiting)} do; give each its own in the TOML"
            " file, as backbones.NAME.checkpoint"
        )
    given = [
        replace(plan, checkpoint=str(checkpoint.absolute())) if plan.name in waiting else plan
        for plan in config.backbones
    ]
    return replace(config, backbones=tuple(given))


def _is_fetched(network: str) -> bool:
    """Return whether a network's weights are neither installed nor named."""
    return ":" in network or registry().get(network, {}).get("loader", "builtin") != "builtin"


class _Table:
    """A TOML table that says which of its entries is wrong."""

    def __init__(self, entries: Any, name: str) -> None:
        if not isinstance(entries, dict):
            raise DataError(f"{name} must be a table")
        self._left, self.name = dict(entries), name

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        """Return an entry of a type; without a default it has to be there."""
        if key not in self._left:
            if default is None:
                raise DataError(f"{self._of(key)} is missing")
            return default
        value = self._left.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            wanted = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            raise DataError(f"{self._of(key)} must be {wanted}; it is {value!r}")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return a list of texts, at least one and none twice."""
        values = tuple(self.take(key, (list, tuple), default))
        if not values or not all(isinstance(value, str) for value in values) or len(set(values)) < len(values):
            raise DataError(f"{self._of(key)} must be a list of different texts; it is {list(values)!r}")
        return values

    def numbers(self, key: str) -> tuple[int, ...]:
        """Take a list of ascending integers; none where it is missing."""
        values = tuple(self.take(key, (list, tuple), ()))
        if not all(type(value) is int for value in values) or sorted(set(values)) != list(values):
            raise DataError(f"{self._of(key)} must be a list of ascending integers; it is {list(values)!r}")
        return values

    def tables(self, key: str) -> list[_Table]:
        """Return a table of tables, at least one."""
        entries = self.take(key, dict)
        if not entries:
            raise DataError(f"{self._of(key)} is empty; name at least one")
        return [_Table(entry, f"{self._of(key)}.{name}") for name, entry in entries.items()]

    def figures(self, key: str, names: tuple[str, ...]) -> dict[str, float]:
        """Return a table of numbers in [0, 1] that has some of the names, and no others."""
        inner = _Table(self.take(key, dict, {}), self._of(key))
        found = {name: float(inner.take(name, (int, float))) for name in names if name in inner._left}
        inner.finished()
        strange = [name for name, value in found.items() if not 0 <= value <= 1]
        if strange:
            raise DataError(f"{inner._of(strange[0])} must lie in [0, 1]")
        return found

    def finished(self) -> None:
        """Check that nothing is left, which may be a slip of the pen."""
        if self._left:
            raise DataError(f"{self._of(next(iter(self._left)))} is unknown; remove or correct it")

    @property
    def own(self) -> str:
        """The last part of the name."""
        return self.name.partition(".")[2]

    def _of(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def _config(table: _Table) -> Config:
    detectors = table.texts("detectors")
    for name in detectors:
        find_detector(name)
    config = Config(
        title=table.take("title", str),
        sets=tuple(map(_set, table.tables("sets"))),
        backbones=tuple(map(_backbone, table.tables("backbones"))),
        detectors=detectors,
        protocols=tuple(_protocol(entry, detectors) for entry in table.tables("protocols")),
        draws=table.take("draws", int, FEWEST_DRAWS),
        alpha=float(table.take("alpha", float, 0.05)),
        select=table.take("select", bool, False),
        remark=table.take("remark", str, ""),
    )
    table.finished()
    if config.draws < FEWEST_DRAWS:
        raise DataError(f"draws must be at least {FEWEST_DRAWS}; it is {config.draws}")
    if not 0 < config.alpha < 1:
        raise DataError(f"alpha must lie between 0 and 1; it is {config.alpha}")
    return config


def _set(table: _Table) -> SetPlan:
    plan = SetPlan(
        name=table.own,
        folder=table.take("folder", str, table.own),
        modality=table.take("modality", str, table.own),
        patient=table.take("patient", str, "") or None,
        starts=table.numbers("starts"),
        published=table.figures("published", ("auroc", "ap")),
        kind=table.take("kind", str, "") or None,
    )
    table.finished()
    for entry, pattern in (("patient", plan.patient), ("kind", plan.kind)):
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise DataError(f"{table.name}.{entry} is no regular expression: {error}") from error
    if plan.starts and plan.patient is None:
        raise DataError(f"{table.name}.starts needs a patient that finds the number; add it")
    return plan


def _backbone(table: _Table) -> BackbonePlan:
    looks = table.texts("looks", tuple(map(str, DEFAULT_LOOKS)))
    plan = BackbonePlan(
        table.own,
        table.texts("networks", (table.own,)),
        tuple(str(FeatureSpec.parse(look)) for look in looks),
        table.take("checkpoint", str, ""),
    )
    table.finished()
    return plan


def _protocol(table: _Table, detectors: tuple[str, ...]) -> ProtocolPlan:
    if table.own not in PROTOCOLS:
        raise DataError(f"{table.name} is unknown; the protocols are {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[table.own]
    conditions = tuple(table.take("conditions", list, list(protocol.conditions)))
    chosen = table.texts("detectors", detectors)
    table.finished()
    strange = [name for name in chosen if name not in detectors]
    if strange:
        raise DataError(f"{table.name}.detectors: {strange[0]} is not among the detectors of the file; add it there")
    wrong = [one for one in conditions if not _fits(table.own, one)]
    if wrong or not conditions:
        raise DataError(f"{table.name}.conditions: {wrong[0] if wrong else 'none'!r} is no condition of this protocol")
    return ProtocolPlan(table.own, conditions, chosen)


def _fits(protocol: str, condition: Any) -> bool:
    if protocol in _FOR_SHARES:
        return isinstance(condition, float) and 0 < condition < 1
    if protocol == "few-normals":
        return condition == "all" or (isinstance(condition, int) and condition >= 2)
    if protocol in _FOR_LABELS:
        return type(condition) is int and condition >= 1
    return condition is None
