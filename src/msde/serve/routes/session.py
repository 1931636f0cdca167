"""Signing in on the page."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from msde import __version__
from msde.serve.intake.auth import COOKIE, LASTS, Caller
from msde.serve.routes.access import REFUSALS, Reader, Served, TokenFirst
from msde.serve.schemas import Session, Token
from msde.serve.service import Service

NOTICE = "For research use only. Not a medical device."
router = APIRouter(route_class=TokenFirst, prefix="/api/session", tags=["session"], responses=REFUSALS)


@router.post("")
async def sign_in(service: Served, body: Token, response: Response) -> Session:
    """Exchange a token for a cookie that no script can read."""
    caller, cookie = service.gate.begin(body.token)
    response.set_cookie(COOKIE, cookie, max_age=LASTS, **_of_cookie(service))
    return _session(service, caller)


@router.get("")
async def who(service: Served, caller: Reader) -> Session:
    """Return who asks, and the CSRF token to send back."""
    return _session(service, caller)


@router.delete("", status_code=204)
async def sign_out(service: Served, caller: Reader, response: Response) -> None:
    """End the session in this browser."""
    response.delete_cookie(COOKIE, **_of_cookie(service))


def _of_cookie(service: Service) -> dict[str, Any]:
    path = f"{service.settings.root_path}/"
    return {"path": path, "httponly": True, "samesite": "strict", "secure": service.settings.https}


def _session(service: Service, caller: Caller) -> Session:
    limits = {name: getattr(service.settings, name) for name in ("upload_bytes", "files", "queue")}
    return Session.model_validate(
        {
            "user": caller.user,
            "role": caller.role,
            "csrf": caller.csrf,
            "version": __version__,
            "notice": NOTICE,
            "limits": limits,
        }
    )
