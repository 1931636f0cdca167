"""What goes in and out as JSON of readers: verdicts, and how far readers agree."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _storable(text: str) -> str:
    """Leave out what no database stores as text."""
    return text.replace("\0", "")


Storable = Annotated[str, AfterValidator(_storable)]
VerdictWord = Literal["normal", "abnormal", "unsure"]
Settled = Literal["normal", "abnormal", "unsure", "disputed"]


class Verdict(BaseModel):
    """A reader's verdict, or that it is taken back, beside what the model said then."""

    id: int
    verdict: VerdictWord | Literal["withdrawn"]
    note: str
    reader: str
    at: datetime
    model: str | None
    version: int | None
    anomaly_score: float | None
    p_value: float | None


class Given(Verdict):
    """A verdict that was stored, and what the image's readers' words come to with it."""

    settled: Settled | None
    readers: int


class NewVerdict(BaseModel):
    """A verdict to store; `seen` of the case that was looked at, where it is to be refused if that has changed."""

    model_config = ConfigDict(extra="forbid")

    verdict: VerdictWord
    note: Storable = Field(default="", max_length=4000)
    seen: str | None = Field(default=None, max_length=100)


class Pair(BaseModel):
    """How far two readers agree on the images that both have read."""

    readers: tuple[str, str]
    images: int
    agreed: int
    kappa: float | None
    interval: tuple[float, float] | None
