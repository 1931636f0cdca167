"""The file of notifications: who is told of flagged studies, and how; a TOML file."""

from __future__ import annotations

import base64
import binascii
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from msde.errors import DataError
from msde.serve.notify.template import MessageTemplate
from msde.serve.settings_file import StrictSettings, keeps_secrets, read_settings, secret_in

_SHORTEST_SECRET = 24  # bytes


class Receiver(StrictSettings):
    """Who is told.

    Parameters
    ----------
    name : str
        What logs, audit and the outbox call it.
    identifiers : bool
        Whether the message says whose the study is; the service has to be started with ``--identifiers`` too.
    template : Path, optional
        By default one that comes with the package.
    wait_seconds : float
        How long a study has to have been quiet, so that it is told of once.
    timeout : float
        Seconds without a byte after which an attempt is given up.
    ca, certificate, key : Path, optional
        PEM files: authorities to trust, and what the receiver is shown.
    """

    kind: Literal["webhook", "hl7", "fhir"]
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$")
    identifiers: bool = False
    template: Path | None = None
    wait_seconds: float = Field(default=60, ge=0, le=86_400)
    timeout: float = Field(default=20, gt=0, le=600)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @cached_property
    def message(self) -> MessageTemplate:
        """The template."""
        return MessageTemplate(self.kind, self.template, identifiers=self.identifiers)


class HttpReceiver(Receiver):
    """A receiver by HTTP: a webhook, or the root of a FHIR server.

    Parameters
    ----------
    url : str
    secret_file : Path, optional
        By which a webhook is signed; its first line.
    token_file : Path, optional
        Bearer token for a FHIR server.
    """

    kind: Literal["webhook", "fhir"]
    url: str
    secret_file: Path | None = None
    token_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment or parts.username:
            raise ValueError("must be like https://ris.example/msde, without a password")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_consistent(self) -> HttpReceiver:
        if self.kind == "webhook" and self.secret_file is None:
            raise ValueError("a webhook is signed; give secret_file")
        secret = self.token_file is not None or self.identifiers
        if secret and not keeps_secrets(self.url):
            raise ValueError("a token, or whose a study is, goes over https only")
        return self

    @property
    def secret(self) -> bytes:
        """What the message is signed with."""
        text = "" if self.secret_file is None else secret_in(self.secret_file)
        if text.startswith("whsec_"):
            try:
                return base64.b64decode(text.removeprefix("whsec_"), validate=True)
            except binascii.Error:
                return b""
        return text.encode()

    @property
    def token(self) -> str:
        """What is shown to the server; empty for nothing."""
        return "" if self.token_file is None else secret_in(self.token_file)


class Hl7Receiver(Receiver):
    """A receiver of HL7 version 2 by MLLP.

    Parameters
    ----------
    host : str
    port : int
    tls : bool
        Whether the connection is encrypted.
    """

    kind: Literal["hl7"]
    host: str
    port: int = Field(default=2575, ge=1, le=65535)
    tls: bool = False


class NotifyFile(StrictSettings):
    """All of the file.

    Parameters
    ----------
    page : str
        Address of the service for readers, for links in messages; empty for none.
    webhook, fhir, hl7 : tuple of Receiver
        Their names differ.
    """

    page: str = Field(default="", pattern=r"^(https?://\S+)?$")
    webhook: tuple[HttpReceiver, ...] = ()
    fhir: tuple[HttpReceiver, ...] = ()
    hl7: tuple[Hl7Receiver, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _has_kinds(cls, content: dict[str, object]) -> dict[str, object]:
        """Give each receiver the kind that its table is named for."""
        kinds = {kind: content[kind] for kind in ("webhook", "fhir", "hl7") if isinstance(content.get(kind), list)}
        given = {kind: [{**dict(one), "kind": kind} for one in rows] for kind, rows in kinds.items()}  # type: ignore[attr-defined]
        return {**content, **given}

    @model_validator(mode="after")
    def _has_names(self) -> NotifyFile:
        if len(set(self.names)) < len(self.names):
            raise ValueError("two receivers have one name; give each a name of its own")
        return self

    @property
    def receivers(self) -> tuple[HttpReceiver | Hl7Receiver, ...]:
        """All of them."""
        return (*self.webhook, *self.fhir, *self.hl7)

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [receiver.name for receiver in self.receivers]

    @classmethod
    def read(cls, path: str | Path, *, identifiers: bool) -> NotifyFile:
        """Read a file; relative paths in it are relative to it.

        Parameters
        ----------
        path : path
        identifiers : bool
            Whether the service was started with ``--identifiers``.

        Raises
        ------
        DataError
            If it cannot be read, or holds what it should not.
        """
        file = read_settings(path, cls, "docs/notifications.md")
        try:
            for receiver in file.receivers:
                _check(receiver, identifiers)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        return file


def _check(receiver: HttpReceiver | Hl7Receiver, identifiers: bool) -> None:
    if receiver.identifiers and not identifiers:
        raise DataError(
            f"{receiver.name} is to be told whose a study is; start the service with --identifiers for that"
        )
    _ = receiver.message
    if isinstance(receiver, HttpReceiver) and receiver.kind == "webhook" and len(receiver.secret) < _SHORTEST_SECRET:
        raise DataError(f"{receiver.secret_file}: holds no secret of {_SHORTEST_SECRET} bytes or more")
