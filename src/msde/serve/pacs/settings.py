"""The PACS file: which archives there are, what listens, and the limits; a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from msde.serve.settings_file import StrictSettings, keeps_secrets, read_settings, secret_in

_Title = Annotated[str, Field(pattern=r"^[ -\[\]-~]{1,16}$")]  # ASCII without backslash
_MEGABYTE = 1_000_000


class _Limited(StrictSettings):
    instance_megabytes: int

    @property
    def instance_bytes(self) -> int:
        """Bytes of the largest object that is taken."""
        return self.instance_megabytes * _MEGABYTE


class PacsSettings(_Limited):
    """One archive.

    Parameters
    ----------
    name : str
        What logs, metrics and the outbox call it.
    url : str
        Root of its DICOMweb service, such as ``https://pacs.example/dicom-web``.
    results : bool
        Whether results are stored there.
    poll_seconds : float
        How often it is asked for new images; 0 for never.
    days : int
        How far back the date of a study may lie to be asked for; 0 for today.
    match : mapping of str to str
        Further attributes that a series has to have, such as ``Modality = "DX"``.
    user : str, optional
        For HTTP Basic, with `password_file`.
    password_file, token_file : Path, optional
        Files whose first line is the password, or the bearer token.
    ca, certificate, key : Path, optional
        PEM files: authorities to trust, and the certificate that is shown to the PACS.
    timeout : float
        Seconds without a byte after which a request is given up; ten times that for all of it.
    instance_megabytes : int
        Size of the longest answer that is taken.
    """

    name: str = Field(default="pacs", pattern=r"^[A-Za-z0-9_.-]{1,60}$")
    url: str
    results: bool = True
    poll_seconds: float = Field(default=0, ge=0, allow_inf_nan=False)
    days: int = Field(default=2, ge=0, le=36500)
    match: Mapping[str, str] = {}
    user: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout: float = Field(default=20, gt=0, le=600)
    instance_megabytes: int = Field(default=256, ge=1, le=1500)

    @field_validator("url")
    @classmethod
    def _is_root(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be like https://pacs.example/dicom-web")
        if parts.username or parts.password:
            raise ValueError("must hold no password; use user and password_file")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_consistent(self) -> PacsSettings:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file go together")
        if self.user is not None and self.token_file is not None:
            raise ValueError("give user and password_file, or token_file, not both")
        secret = self.user is not None or self.token_file is not None
        if secret and not keeps_secrets(self.url):
            raise ValueError("a password or token goes over https only")
        return self

    @property
    def basic(self) -> tuple[str, str] | None:
        """User and password."""
        return None if self.user is None or self.password_file is None else (self.user, secret_in(self.password_file))

    @property
    def bearer(self) -> dict[str, str]:
        """The header with the token."""
        return {} if self.token_file is None else {"Authorization": f"Bearer {secret_in(self.token_file)}"}

    @property
    def client_certificate(self) -> str | tuple[str, str] | None:
        """The certificate that is shown to the PACS, with its key."""
        if self.certificate is None or self.key is None:
            return None if self.certificate is None else str(self.certificate)
        return str(self.certificate), str(self.key)


class ListenSettings(_Limited):
    """The listener for C-STORE and C-ECHO.

    Parameters
    ----------
    ae_title : str
        Our title; associations that call another are rejected.
    host : str
        Address to listen at.
    port : int
        0 for a free one.
    callers : tuple of str
        Titles that may send; empty for all.
    associations : int
        How many at a time.
    instance_megabytes : int
        Size of the largest object that is taken; so much memory each association may use.
    timeout : float
        Seconds of silence after which an association is closed.
    """

    ae_title: _Title = "MSDE"
    host: str = "127.0.0.1"
    port: int = Field(default=11112, ge=0, le=65535)
    callers: tuple[_Title, ...] = ()
    associations: int = Field(default=8, ge=1, le=100)
    instance_megabytes: int = Field(default=128, ge=1, le=2000)
    timeout: float = Field(default=30, gt=0, le=600)


class StowSettings(_Limited):
    """STOW-RS in.

    Parameters
    ----------
    instances : int
        How many one request may hold.
    instance_megabytes : int
        Size of the largest object; so much memory each request may use.
    """

    instances: int = Field(default=1000, ge=1)
    instance_megabytes: int = Field(default=128, ge=1, le=2000)


class PacsFile(StrictSettings):
    """All of the file.

    Parameters
    ----------
    pacs : tuple of PacsSettings
        The archives; their names differ.
    listen : ListenSettings, optional
        None for no listener.
    stow : StowSettings, optional
        None for no STOW-RS in.
    """

    pacs: tuple[PacsSettings, ...] = ()
    listen: ListenSettings | None = None
    stow: StowSettings | None = None

    @model_validator(mode="after")
    def _has_names(self) -> PacsFile:
        if len({pacs.name for pacs in self.pacs}) < len(self.pacs):
            raise ValueError("two archives have one name; give each a name of its own")
        return self

    @property
    def destinations(self) -> list[str]:
        """Names of the archives where results are stored."""
        return [pacs.name for pacs in self.pacs if pacs.results]

    @classmethod
    def read(cls, path: str | Path) -> PacsFile:
        """Read a file; relative paths in it are relative to it.

        Raises
        ------
        DataError
            If it cannot be read, is no TOML, or holds what it should not.
        """
        return read_settings(path, cls, "docs/pacs.md")
