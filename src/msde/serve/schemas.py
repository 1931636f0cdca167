"""What goes in and out as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from msde.method.calibration import HIGHEST_RATE, LOWEST_RATE
from msde.serve.picture_schemas import Range, Spacing
from msde.serve.reading import Pair, Settled, Verdict

Rate = Annotated[float, Field(ge=LOWEST_RATE, le=HIGHEST_RATE, allow_inf_nan=False)]
Role = Literal["reader", "admin"]
EvidenceWord = Literal["like", "unlike"]
State = Literal["queued", "scored", "failed", "unsuited"]


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
    """Who asks, the CSRF token to send back, and where to go to sign out, if that is elsewhere."""

    user: str
    role: Role
    csrf: str
    sign_out: str
    version: str
    notice: str
    limits: Limits
    identifiers: bool
    viewer: bool


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


class Identifiers(BaseModel):
    """Whom an image is of, as its header states it."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    patient_id: str
    birth_year: str
    sex: str
    accession: str
    study_date: str
    study_description: str
    station: str


class Pseudonyms(BaseModel):
    """Short names for patient, study and series, which tell nothing and stay the same."""

    patient: str | None
    study: str | None
    series: str | None


class Together(BaseModel):
    """How many of the images that were asked for a line stands for, and of them; those of another kind need none."""

    images: int
    flagged: int
    waiting: int
    without_verdict: int


class OfPatient(BaseModel):
    """What all images of a patient say together."""

    images: int
    anomaly_score: float | None
    p_value: float | None
    flagged: bool | None
    words: str


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
    verdict: Settled | None
    readers: int
    threshold: float | None
    purged: datetime | None
    body_part: str | None
    assigned: str | None
    pseudonyms: Pseudonyms | None
    identifiers: Identifiers | None
    together: Together | None
    patient: OfPatient | None


class Worklist(BaseModel):
    """A page of the worklist."""

    model: str
    version: int
    alpha: float
    total: int
    rows: list[Row]


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


class Opinion(BaseModel):
    """What a model says of an image; `in_use` is its version now, `version` the one that scored it."""

    model: str
    version: int
    in_use: int
    state: State
    kind: Literal["image", "volume"]
    anomaly_score: float | None
    p_value: float | None
    words: str | None
    flagged: bool | None
    error: str | None


class Case(Row):
    """An image with all that is known of it."""

    top_parts: list[Part]
    verdicts: list[Verdict]
    seen: str
    opinions: list[Opinion]
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
    disputed: int
    pairs: list[Pair]


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
