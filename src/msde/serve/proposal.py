"""What goes out as JSON of learning from verdicts: a proposal, and what it would change."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class HeldOut(BaseModel):
    """What one of two models makes of the images with verdicts, none of whose patients it has seen."""

    auroc: float
    auroc_ci: tuple[float, float]
    flags_per_1000: float | None
    flags_per_1000_ci: tuple[float, float] | None
    sensitivity: float | None
    sensitivity_ci: tuple[float, float] | None
    roc: list[tuple[float, float]]


class Named(BaseModel):
    """An image, by its number and name."""

    image: int
    name: str


class Changed(Named):
    """An image with a verdict that one of two models flags and the other does not."""

    abnormal: bool
    old_p_value: float
    new_p_value: float
    now_flagged: bool


class Comparison(BaseModel):
    """What a proposal would change, by images with verdicts."""

    n_normal: int
    n_abnormal: int
    n_patients: int
    alpha: float
    old: HeldOut
    new: HeldOut
    difference: float
    difference_ci: tuple[float, float]
    notes: list[str]
    changed: list[Changed]
    contradicted: list[Named]
    unsure: int


class Proposal(BaseModel):
    """A version that has learnt from verdicts, or is about to."""

    state: Literal["running", "ready", "failed"]
    progress: float
    before: int
    version: int | None
    made_by: str
    at: datetime
    error: str | None
    comparison: Comparison | None


class Learning(BaseModel):
    """What a model can learn from, and the latest proposal."""

    confirmed_normals: int
    confirmed_abnormals: int
    contradicted: list[Named]
    lacks: str | None
    proposal: Proposal | None
