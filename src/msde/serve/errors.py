"""What the service refuses, named for what is wrong, and the HTTP status that says so."""

from __future__ import annotations

import errno

from msde.errors import MSDEError
from msde.images.passing import is_passing

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_SQLITE_FULL = 13
_POSTGRES_FULL = "53100"


class ServiceError(MSDEError):
    """A request that is refused; the message is what the sender reads."""

    status = 400


class Unsupported(ServiceError):  # noqa: N818
    """Bytes that are no image in a format that is read."""

    status = 415


class TooLarge(ServiceError):  # noqa: N818
    """More bytes, files or pixels than the settings allow."""

    status = 413


class Conflict(ServiceError):  # noqa: N818
    """Something that the present state does not allow."""

    status = 409


class NotFound(ServiceError):  # noqa: N818
    """No such image, model, version or normal."""

    status = 404


class Denied(ServiceError):  # noqa: N818
    """No token or a wrong one.

    Parameters
    ----------
    message : str
    tried : {"", "token", "header"}
        What was wrong; empty where nothing was given, or a session is over.
    """

    status = 401

    def __init__(self, message: str, tried: str = "") -> None:
        super().__init__(message)
        self.tried = tried


class Forbidden(ServiceError):  # noqa: N818
    """A role that may not do this, or no CSRF token.

    Parameters
    ----------
    message : str
    user : str
        Who asked for it.
    """

    status = 403

    def __init__(self, message: str, user: str) -> None:
        super().__init__(message)
        self.user = user


class OutOfRange(ServiceError):  # noqa: N818
    """A value of the right form that this model cannot have."""

    status = 422


class Postponed(ServiceError):  # noqa: N818
    """What cannot be done now, and is to be sent again.

    Parameters
    ----------
    message : str
    retry_after : int
        Seconds after which to try again.
    """

    status = 503

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(Postponed):
    """The queue is full, or too many wait."""

    status = 429


class OutOfResources(Postponed):
    """The machine has no memory or may open no further files, or a disk fails."""

    def __init__(self) -> None:
        super().__init__("the service has no files or memory left, or its disk fails; send it again", retry_after=10)


class Full(Postponed):
    """The disk has no room left."""

    status = 507

    def __init__(self) -> None:
        super().__init__("the disk of the service is full; send it again when there is room", retry_after=30)


def postponed(error: BaseException | None) -> Postponed | None:
    """Return the refusal that an error calls for which is the machine's and will pass; None for any other."""
    if _of_room(error):
        return Full()
    return OutOfResources() if is_passing(error) else None


def _of_room(error: BaseException | None) -> bool:
    """Whether an error comes of a full disk, also below a database."""
    while error is not None:
        below = getattr(error, "orig", None)
        if getattr(error, "errno", None) in _NO_ROOM or getattr(below, "sqlite_errorcode", None) == _SQLITE_FULL:
            return True
        if getattr(below, "sqlstate", None) == _POSTGRES_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
