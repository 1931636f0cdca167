"""The database: tables and what their columns mean; docs/service.md has the same in prose."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself in INTEGER columns alone


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def beyond(longest: timedelta) -> datetime:
    """Return after when a time lies that was set before the clock was put back, where none is set so far ahead.

    Ten seconds are allowed for: another process may have read the clock that much later, and written meanwhile.
    """
    return now() + longest + timedelta(seconds=10)


class Moment(TypeDecorator[datetime]):
    """A time in UTC, which SQLite would give back without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Put the zone back."""
        return value if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


class Numbers(TypeDecorator[NDArray[np.float64]]):
    """Numbers in a row, float64, little-endian."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Sequence[float] | NDArray[np.float64] | None, dialect: Dialect) -> bytes | None:
        """Put them side by side."""
        return None if value is None else np.asarray(value, dtype="<f8").tobytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> NDArray[np.float64] | None:
        """Read them."""
        return None if value is None else np.frombuffer(value, dtype="<f8").astype(np.float64)


class Base(DeclarativeBase):
    """All tables."""


class Identity(Base):
    """The database's own name, drawn at random and repeated in DATA/database-id; the one row never changes."""

    __tablename__ = "identity"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)


class Model(Base):
    """A model by its name, which is the stem of its file; the version in use, and the rate asked for."""

    __tablename__ = "models"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    file_sha256: Mapped[str] = mapped_column(String(64))  # of the file named at the start, as last seen
    version_id: Mapped[int | None] = mapped_column(Id)  # the current one; a reference would go round in a circle
    alpha: Mapped[float | None]  # false-alarm rate set by an admin; null: the model's own


class Version(Base):
    """One state of a model, kept for good as DATA/models/SHA256.msde."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model_id", "number"), UniqueConstraint("model_id", "sha256"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    number: Mapped[int]  # 1, 2, ... within the model
    sha256: Mapped[str] = mapped_column(String(64))
    origin: Mapped[str] = mapped_column(String(200))  # "file", or "recalibrated from version 1 on 40 confirmed normals"
    made_by: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment, default=now)
    normals: Mapped[int]  # held-out normals that it is calibrated on


class Proposal(Base):
    """A version that has learnt from verdicts, with what it would change; an admin makes it current, or nobody."""

    __tablename__ = "proposals"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), index=True)
    before_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))  # that it learns from
    version_id: Mapped[int | None] = mapped_column(ForeignKey("versions.id"))  # that was made
    state: Mapped[str] = mapped_column(String(8))  # running -> ready | failed
    made_by: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment, default=now)
    sign: Mapped[datetime] = mapped_column(Moment, default=now)  # of life, the latest
    progress: Mapped[float] = mapped_column(default=0.0)  # in [0, 1]
    error: Mapped[str | None] = mapped_column(Text)  # without names of images
    figures: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # images by their numbers, without names


class Image(Base):
    """An image or volume; its bytes are DATA/images/DD/DIGEST.SUFFIX, a folder with the suffix .series for a series."""

    __tablename__ = "images"
    __table_args__ = ({"sqlite_autoincrement": True},)  # the audit log names images that are gone

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256 of the bytes; of its files' for a series
    suffix: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(400))  # as the sender called it; may tell who the patient is
    format: Mapped[str] = mapped_column(String(16))
    modality: Mapped[str] = mapped_column(String(16))  # of DICOM, such as CT; else "other"
    origin: Mapped[str] = mapped_column(String(200))  # "rest", "stow", "dimse:TITLE", "poll:NAME"
    arrived: Mapped[datetime] = mapped_column(Moment, default=now, index=True)
    verdict: Mapped[str | None] = mapped_column(String(16), index=True)  # what its readers' words come to
    readers: Mapped[int] = mapped_column(default=0, server_default="0")  # whose latest word is a verdict
    purged: Mapped[datetime | None] = mapped_column(Moment)  # when its bytes and its name were removed, if they were
    # Digests of whom it is of, and of which study and series, see `msde.serve.intake.headers`.
    patient: Mapped[str | None] = mapped_column(String(32), index=True)
    study: Mapped[str | None] = mapped_column(String(32), index=True)
    series: Mapped[str | None] = mapped_column(String(32))
    body_part: Mapped[str | None] = mapped_column(String(16))  # as DICOM states it; null: its header was not read yet
    scanner: Mapped[str | None] = mapped_column(String(60))  # manufacturer and model, as DICOM states them
    assigned: Mapped[str | None] = mapped_column(String(200), index=True)  # the reader who is to look at it


class SealedIdentifiers(Base):
    """Whom a DICOM image is of, by name, encrypted; there are rows with ``--identifiers`` alone."""

    __tablename__ = "identifiers"

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    mark: Mapped[str] = mapped_column(String(16))  # of the key, see `msde.serve.identifiers`
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Preferences(Base):
    """How somebody likes the worklist."""

    __tablename__ = "preferences"

    user: Mapped[str] = mapped_column(String(200), primary_key=True)
    chosen: Mapped[dict[str, Any]] = mapped_column(JSON)


class Score(Base):
    """What one version of a model says of an image, or is to say: the queue and the results are one table."""

    __tablename__ = "scores"
    __table_args__ = (
        UniqueConstraint("image_id", "version_id"),
        Index("scores_by_state", "state", "id"),
        Index("scores_by_version", "version_id", "id"),
        Index("scores_worklist", "model_id", "shown", "p_value"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    shown: Mapped[bool]  # of its image and model, the one that the worklist shows
    state: Mapped[str] = mapped_column(String(8))  # queued -> running -> scored | failed | unsuited
    worker: Mapped[str | None] = mapped_column(String(40))  # who runs it
    leased: Mapped[datetime | None] = mapped_column(Moment)  # until when, unless it says so again
    attempts: Mapped[int] = mapped_column(server_default="0")  # how often it was begun, but for those given back
    scored: Mapped[datetime | None] = mapped_column(Moment)
    anomaly_score: Mapped[float | None]
    p_value: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)
    n_parts: Mapped[int] = mapped_column(default=1)
    top_parts: Mapped[list[Any] | None] = mapped_column(JSON)  # [[part, anomaly_score, p_value], ...], highest first
    seen_in_training: Mapped[bool] = mapped_column(default=False)
    evidence: Mapped[str | None] = mapped_column(Text)  # in words, of a model that learnt from labels
    # Of all parts of a volume whose patient is known, for what all images of the patient say together.
    part_scores: Mapped[NDArray[np.float64] | None] = mapped_column(Numbers, deferred=True)


class Verdict(Base):
    """What a reader says of an image, beside what the model said then; rows are only ever added.

    Of each reader the latest row counts; "withdrawn" says that no verdict of the reader does.
    """

    __tablename__ = "verdicts"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)
    version_id: Mapped[int | None] = mapped_column(ForeignKey("versions.id"))
    verdict: Mapped[str] = mapped_column(String(16))  # normal, abnormal, unsure; withdrawn
    note: Mapped[str] = mapped_column(Text)
    reader: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment, default=now)
    anomaly_score: Mapped[float | None]
    p_value: Mapped[float | None]


class Audit(Base):
    """Who sent, saw and decided what; rows are only ever added, by `audit_chain`, and outlive the image."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment, default=now)
    user: Mapped[str] = mapped_column(String(200), index=True)
    action: Mapped[str] = mapped_column(String(40))
    image_id: Mapped[int | None] = mapped_column(Id, index=True)  # no reference: the image may go
    detail: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    digest: Mapped[str] = mapped_column(String(64), server_default="")  # of this row and of the digest before


class PageSession(Base):
    """Somebody who is signed in on the page."""

    __tablename__ = "sessions"

    cookie: Mapped[str] = mapped_column(String(64), primary_key=True)  # its SHA-256
    token: Mapped[str] = mapped_column(String(64))  # SHA-256 of the token, a line of DATA/tokens
    until: Mapped[datetime] = mapped_column(Moment)


class Outgoing(Base):
    """A result to send to a place, put down in the transaction that stores the score."""

    __tablename__ = "outbox"
    __table_args__ = (UniqueConstraint("score_id", "destination"), Index("outbox_due", "state", "next_try"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    score_id: Mapped[int] = mapped_column(ForeignKey("scores.id", ondelete="CASCADE"))
    destination: Mapped[str] = mapped_column(String(200))  # a name of the PACS settings
    state: Mapped[str] = mapped_column(String(8), default="waiting")  # waiting -> sent | dead
    attempts: Mapped[int] = mapped_column(default=0)
    next_try: Mapped[datetime] = mapped_column(Moment, default=now)
    error: Mapped[str | None] = mapped_column(Text)  # of the last attempt, without identifiers
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    sent: Mapped[datetime | None] = mapped_column(Moment)


class DicomInstance(Base):
    """A DICOM object that has come, whichever way, or that was sent, and what became of it."""

    __tablename__ = "dicom_instances"

    uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    fate: Mapped[str] = mapped_column(String(16))  # a word of msde.serve.pacs.intake.Fate
    pixels: Mapped[str | None] = mapped_column(String(64), index=True)  # SHA-256 of them as they are stored
    digest: Mapped[str | None] = mapped_column(String(64))  # of the file, as in `images`


class DicomSeries(Base):
    """A series of an archive of which each instance has come to its end."""

    __tablename__ = "dicom_series"

    pacs: Mapped[str] = mapped_column(String(60), primary_key=True)  # a name of the PACS settings
    uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    instances: Mapped[int]  # how many it had then


class DicomFailure(Base):
    """An instance or series that could not be fetched from an archive."""

    __tablename__ = "dicom_failures"

    pacs: Mapped[str] = mapped_column(String(60), primary_key=True)
    uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    series: Mapped[str] = mapped_column(String(64))
    attempts: Mapped[int]
    next_try: Mapped[datetime] = mapped_column(Moment)
    error: Mapped[str] = mapped_column(Text)  # of the last attempt, without identifiers
