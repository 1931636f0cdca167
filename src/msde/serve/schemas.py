"""What goes in and out as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from msde.method.calibration import HIGHEST_RATE, LOWEST_RATE


def _storable(text: str) -> str:
    """Leave out what no database stores as text."""
    return text.replace("\0", "")


Rate = Annotated[float, Field(ge=LOWEST_RATE, le=HIGHEST_RATE, allow_inf_nan=False)]
Storable = Annotated[str, AfterValidator(_storable)]
Role = Literal["reader", "admin"]
VerdictWord = Literal["normal", "abnormal", "unsure"]
EvidenceWord = Literal["like", "unlike"]
State = Literal["queued", "scored", "failed"]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: Any


class Token(BaseModel):
    """What is exchanged for a session."""

    token: str = Field(max_length=1000)


class Limits(BaseModel):
    """What one upload may hold, and how many images may wait."""

    upload_bytes: int
    files: int
    queue: int


class Session(BaseModel):
    """Who asks, and the CSRF token to send back."""

    user: str
    role: Role
    csrf: str
    version: str
    notice: str
    limits: Limits


class ReceivedImage(BaseModel):
    """An image that is kept."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    known: bool


class Refused(BaseModel):
    """A file that is not."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    reason: str


class Received(BaseModel):
    """What came of an upload."""

    model_config = ConfigDict(from_attributes=True)

    images: list[ReceivedImage]
    refused: list[Refused]


class Result(BaseModel):
    """What a model says of an image that is not kept."""

    name: str
    model: str
    version: int
    anomaly_score: float | None
    p_value: float | None
    words: str | None
    flagged: bool | None
    error: str | None
    n_parts: int
    seen_in_training: bool
    evidence: str | None


class Row(BaseModel):
    """One line of the worklist."""

    id: int
    name: str
    kind: Literal["image", "volume"]
    format: str
    modality: str
    origin: str
    arrived: datetime
    version: int
    state: State
    anomaly_score: float | None
    p_value: float | None
    words: str | None
    flagged: bool | None
    error: str | None
    n_parts: int
    seen_in_training: bool
    evidence: str | None
    verdict: VerdictWord | None
    threshold: float | None
    purged: datetime | None


class Worklist(BaseModel):
    """A page of the worklist."""

    model: str
    version: int
    alpha: float
    total: int
    rows: list[Row]


class Verdict(BaseModel):
    """A reader's verdict, beside what the model said then."""

    id: int
    verdict: VerdictWord
    note: str
    reader: str
    at: datetime
    model: str | None
    version: int | None
    anomaly_score: float | None
    p_value: float | None


class NewVerdict(BaseModel):
    """A verdict to store."""

    model_config = ConfigDict(extra="forbid")

    verdict: VerdictWord
    note: Storable = Field(default="", max_length=4000)


class Part(BaseModel):
    """A slice of a volume."""

    part: int
    anomaly_score: float
    p_value: float | None


class Past(BaseModel):
    """What a version said."""

    version: int
    anomaly_score: float | None
    p_value: float | None
    scored: datetime | None


class Window(BaseModel):
    """Values that become black and white, by a name."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    low: float
    high: float


class Range(BaseModel):
    """Values of a gray image, which are black and white by default, and which others may be chosen."""

    low: float
    high: float
    window: tuple[float, float]
    unit_bits: int
    unit: str
    windows: list[Window]


class Spacing(BaseModel):
    """Millimetres from row to row and from column to column, in a body or at a detector."""

    rows: float
    columns: float
    at_detector: bool


class Region(BaseModel):
    """The values within a region, in the file's own unit."""

    model_config = ConfigDict(from_attributes=True)

    pixels: int
    mean: float
    sd: float
    lowest: float
    highest: float


class OfPatient(BaseModel):
    """What all images of a patient say together."""

    images: int
    anomaly_score: float | None
    p_value: float | None
    flagged: bool | None
    words: str


class Case(Row):
    """An image with all that is known of it."""

    patient: OfPatient | None
    top_parts: list[Part]
    verdicts: list[Verdict]
    history: list[Past]
    range: Range | None
    spacing: Spacing | None
    has_overlay: bool
    width: int | None
    height: int | None


class Normal(BaseModel):
    """A normal to compare with."""

    number: int
    picture: str


class Normals(BaseModel):
    """The normals nearest to an image."""

    normals: list[Normal]


class Labelled(BaseModel):
    """A labelled abnormal image to compare with."""

    number: int
    picture: str
    kind: str | None


class NearestLabelled(BaseModel):
    """The labelled abnormal images nearest to an image."""

    labelled: list[Labelled]


class Version(BaseModel):
    """A version of a model."""

    model_config = ConfigDict(from_attributes=True)

    version: int = Field(validation_alias="number")
    sha256: str
    origin: str
    made_by: str
    at: datetime
    normals: int


class Model(BaseModel):
    """A model that is served."""

    name: str
    version: int
    versions: list[Version]
    alpha: float
    own_alpha: float
    threshold: float | None
    normals: int
    resolution: float
    mode: str
    has_overlays: bool
    colours: str | None
    has_normals: bool
    has_labelled: bool
    labelled: str | None
    confirmed_normals: int
    queued: int
    info: dict[str, Any]


class ModelWithCurve(Model):
    """A model with the scores of its held-out normals."""

    curve: list[float]


class Models(BaseModel):
    """The models that are served."""

    models: list[Model]


class Threshold(BaseModel):
    """A false-alarm rate; null for the model's own."""

    model_config = ConfigDict(extra="forbid")

    alpha: Rate | None


class VersionChoice(BaseModel):
    """A version to make current, instead of another where that is said."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=1_000_000)
    instead_of: int | None = Field(default=None, ge=1, le=1_000_000)


class Queued(BaseModel):
    """How many images were queued."""

    queued: int


class Tally(BaseModel):
    """False alarms among confirmed normals."""

    alpha: float
    threshold: float | None
    expected: float
    confirmed_normals: int
    false_alarms: int
    rate: float | None
    interval: tuple[float, float] | None
    confirmed_abnormals: int
    found: int
    images: int
    flagged: int
    sure: str | None
    told: str | None


class Drift(BaseModel):
    """Whether the latest images look like the normals that the model is calibrated on."""

    found: bool
    distance: float
    explained: float
    higher: bool
    unseen_rate: float
    images: int


class Entry(BaseModel):
    """A line of the audit log."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    user: str
    action: str
    image: int | None = Field(validation_alias="image_id")
    detail: dict[str, Any]
    digest: str


class AuditPage(BaseModel):
    """A page of the audit log."""

    total: int
    rows: list[Entry]


class Status(BaseModel):
    """Whether the service lives, or can do its work; `problems` say why not."""

    status: str
    problems: list[str] | None = None
