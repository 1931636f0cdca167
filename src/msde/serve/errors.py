"""What the service refuses, named for what is wrong, and the HTTP status that says so."""

from __future__ import annotations

from msde.errors import MSDEError


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
    """No token or a wrong one."""

    status = 401


class Forbidden(ServiceError):  # noqa: N818
    """A role that may not do this, or no CSRF token."""

    status = 403


class OutOfRange(ServiceError):  # noqa: N818
    """A value of the right form that this model cannot have."""

    status = 422


class Busy(ServiceError):  # noqa: N818
    """The queue is full.

    Parameters
    ----------
    message : str
    retry_after : int
        Seconds after which to try again.
    """

    status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
