"""Pages to sign in and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from kd_face.web.access import ANYONE, Viewer
from kd_face.web.answers import Refusal
from kd_face.web.pages.rendering import render
from kd_face.web.signin import local_path, set_cookie, sign_in, sign_out
from kd_face.web.state import Shared

router = APIRouter()


@router.get("/login", dependencies=[Depends(ANYONE)])
def show_login(request: Request, next: str = "/") -> Response:
    """Show the form to sign in."""
    return render(request, "login.html", next=local_path(next), name="", error="")


@router.post("/login", dependencies=[Depends(ANYONE)])
def login(
    request: Request,
    web: Shared,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Sign in."""
    try:
        token = sign_in(web, request, name, password)
    except Refusal as refusal:
        page = render(
            request, "login.html", next=local_path(next), name=name, error=refusal.message
        )
        page.status_code = refusal.status
        page.headers.update(refusal.headers)
        return page
    response = RedirectResponse(local_path(next), 303)
    set_cookie(web, response, token)
    return response


@router.post("/logout")
def logout(request: Request, web: Shared, caller: Viewer) -> Response:
    """Sign out."""
    response = RedirectResponse("/login", 303)
    sign_out(web, request, response)
    return response
