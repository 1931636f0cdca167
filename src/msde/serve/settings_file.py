"""A TOML file of settings: read, checked, and its paths found beside it."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from msde.errors import DataError

_S = TypeVar("_S", bound="StrictSettings")


class StrictSettings(BaseModel):
    """What a table of the file may hold, and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def beside(self: _S, folder: Path) -> _S:
        """Return the settings with their paths resolved from a folder; raises OSError for a file that is not there."""
        return self.model_copy(update={key: _beside(value, folder) for key, value in self})


def read_settings(path: str | Path, settings: type[_S], guide: str) -> _S:
    """Read a file; relative paths in it are relative to it.

    Parameters
    ----------
    path : path
    settings : type of StrictSettings
        All of the file.
    guide : str
        The page of the documentation that errors name.

    Raises
    ------
    DataError
        If the file or one that it names cannot be read, it is no TOML, or it holds what it should not.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        return settings.model_validate(content).beside(Path(path).parent)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read: {reason}; see {guide}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}; see {guide}") from None


def _beside(value: object, folder: Path) -> object:
    match value:
        case Path():
            (folder / value).read_bytes()
            return folder / value
        case tuple():
            return tuple(_beside(one, folder) for one in value)
        case StrictSettings():
            return value.beside(folder)
        case _:
            return value


def secret_in(path: Path) -> str:
    """Read the first line of a file that holds a secret."""
    return path.read_text(encoding="utf-8").partition("\n")[0].strip()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def keeps_secrets(url: str) -> bool:
    """Whether what goes to an address can be read by nobody between: it is encrypted, or stays on this machine."""
    return not url.startswith("http://") or is_loopback(urlsplit(url).hostname or "")
