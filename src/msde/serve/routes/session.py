"""Signing in on the page."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from msde import __version__
from msde.serve.intake.auth import COOKIE, Caller
from msde.serve.routes.access import REFUSALS, Address, Reader, Served, TokenFirst
from msde.serve.schemas import Session, Token
from msde.serve.service import Service
from msde.serve.storage.sessions import LASTS

NOTICE = "For research use only. Not a medical device."
router = APIRouter(route_class=TokenFirst, prefix="/api/session", tags=["session"], responses=REFUSALS)


@router.post("")
def sign_in(service: Served, address: Address, body: Token, response: Response) -> Session:
    """Exchange a token for a cookie that no script can read."""
    caller, cookie = service.gate.begin(body.token, address)
    response.set_cookie(COOKIE, cookie, max_age=int(LASTS.total_seconds()), **_of_cookie(service))
    return _session(service, caller)


@router.get("")
async def who(service: Served, caller: Reader) -> Session:
    """Return who asks, and the CSRF token to send back."""
    return _session(service, caller)


@router.delete("", status_code=204)
def sign_out(service: Served, caller: Reader, address: Address, request: Request, response: Response) -> None:
    """End the session, here and wherever its cookie has got to."""
    service.gate.end(caller, request.cookies.get(COOKIE, ""), address)
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
            "sign_out": service.settings.sign_out_url if caller.by_proxy else "",
            "version": __version__,
            "notice": NOTICE,
            "limits": limits,
            "identifiers": service.settings.identifiers,
            "viewer": bool(service.settings.viewer_url),
        }
    )
