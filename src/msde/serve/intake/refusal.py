"""What a refusal looks like to the sender."""

from __future__ import annotations

from starlette.responses import JSONResponse

from msde.errors import ModelFileError, MSDEError
from msde.serve.errors import Denied, Postponed, ServiceError


def refusal(error: MSDEError) -> JSONResponse:
    """Return the answer that says what is wrong, and when to come again."""
    headers = {}
    if isinstance(error, Postponed):
        headers["retry-after"] = str(error.retry_after)
    if isinstance(error, Denied):
        headers["www-authenticate"] = "Bearer"
    status = error.status if isinstance(error, ServiceError) else 503 if isinstance(error, ModelFileError) else 422
    return JSONResponse({"detail": str(error)}, status, headers)
