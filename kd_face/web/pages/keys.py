"""Page of the API keys: a secret is shown once, when its key is made."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select

from kd_face import keys
from kd_face.database.models import ApiKey
from kd_face.errors import FaceError
from kd_face.web.access import Admin
from kd_face.web.pages.rendering import render
from kd_face.web.state import Shared, Web

router = APIRouter()


@router.get("/keys")
def show_keys(request: Request, web: Shared, caller: Admin) -> Response:
    """Show all keys without their secrets."""
    return _list(request, web)


@router.post("/keys")
def create_key(
    request: Request,
    web: Shared,
    caller: Admin,
    name: Annotated[str, Form()] = "",
    scopes: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Make a key and show it, this once."""
    try:
        with web.home.write() as session:
            made = keys.create(session, name, scopes or [], caller.name)
    except FaceError as error:
        return _list(request, web, error=str(error), name=name, chosen=tuple(scopes or ()))
    return _list(request, web, made=made)


@router.post("/keys/{prefix}/revoke")
def revoke_key(request: Request, web: Shared, caller: Admin, prefix: str) -> Response:
    """Revoke a key."""
    with web.home.write() as session:
        keys.revoke(session, prefix, caller.name)
    return RedirectResponse("/keys?done=revoked", 303)


def _list(
    request: Request,
    web: Web,
    error: str = "",
    name: str = "",
    chosen: tuple[str, ...] = (),
    made: str = "",
) -> Response:
    with web.home.read() as session:
        rows = session.scalars(select(ApiKey).order_by(ApiKey.id.desc())).all()
    found = [(row, ", ".join(keys.scopes_of(row))) for row in rows]
    content = {"error": error, "name": name, "chosen": chosen, "made": made}
    page = render(request, "keys.html", found=found, scopes=keys.SCOPES, **content)
    page.status_code = 422 if error else 200
    return page
