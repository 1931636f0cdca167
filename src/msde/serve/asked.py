"""What readers ask of the worklist, as JSON: which images, how they are put together, who is to look at them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from msde.serve.reading import Settled, Storable
from msde.serve.schemas import EvidenceWord, State

Group = Literal["image", "study", "patient"]
Column = Literal["often", "score", "verdict", "arrived", "modality", "taken", "study", "station", "assigned"]
Number = Annotated[int, Field(ge=1, le=2**53)]


class Asked(BaseModel):
    """Which images to list, and how."""

    state: State | None = None
    flagged: bool | None = None
    verdict: Settled | Literal["none"] | None = None
    evidence: EvidenceWord | None = None
    modality: Storable | None = Field(default=None, max_length=16)
    body_part: Storable | None = Field(default=None, max_length=16)
    since: datetime | None = Field(default=None, description="Arrived then or later.")
    until: datetime | None = Field(default=None, description="Arrived before.")
    assigned: Literal["me", "others", "nobody"] | None = None
    study_of: Number | None = Field(default=None, description="Images of the same study as this one.")
    patient_of: Number | None = Field(default=None, description="Images of the same patient as this one.")
    search: str | None = Field(default=None, max_length=200)
    group: Group = Field(default="image", description="What is one line; of several images the first of the order.")
    sort: Literal["p_value", "anomaly_score", "arrived", "name", "verdict", "state"] = "p_value"
    order: Literal["asc", "desc"] | None = None
    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0, le=10**9)


class Sought(Asked):
    """Which line of a list to find, from `offset` on and then from its top: that of an image, or one to be read."""

    image: Number | None = Field(default=None, description="By default the next image that has no verdict.")


class Place(BaseModel):
    """Where a line stands, from 0; null where there is none."""

    place: int | None


class Choices(BaseModel):
    """What there is to choose from among the images of a model."""

    modalities: list[str]
    body_parts: list[str]


class Assignment(BaseModel):
    """Who is to look at an image and the others of its study, null for nobody, instead of whom where that is said."""

    model_config = ConfigDict(extra="forbid")

    reader: Storable | None = Field(max_length=200)
    instead_of: Storable | None = Field(default=None, max_length=200)


class Assigned(BaseModel):
    """Who is to look at how many images."""

    reader: str | None
    images: int


class Preferences(BaseModel):
    """How somebody likes the worklist; null where he has not said."""

    model_config = ConfigDict(extra="forbid")

    columns: list[Column] | None = Field(default=None, max_length=20)
    group: Group | None = None
