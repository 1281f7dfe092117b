"""Pages of users and roles, and of one's own password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from kd_face import users
from kd_face.errors import FaceError
from kd_face.web.access import Admin, Viewer
from kd_face.web.answers import Refusal
from kd_face.web.pages.rendering import render
from kd_face.web.state import Shared, Web

router = APIRouter()
Text = Annotated[str, Form()]


@router.get("/users")
def show_users(request: Request, web: Shared, caller: Admin) -> Response:
    """Show all users."""
    return _list(request, web)


@router.post("/users")
def add_user(
    request: Request,
    web: Shared,
    caller: Admin,
    name: Text = "",
    password: Text = "",
    role: Text = "viewer",
) -> Response:
    """Add a user."""
    try:
        with web.home.write() as session:
            users.add(session, name, password, role, caller.name)
    except FaceError as error:
        return _list(request, web, error=str(error), name=name, role=role)
    return RedirectResponse("/users?done=user-added", 303)


@router.post("/users/{name}/role")
def set_role(request: Request, web: Shared, caller: Admin, name: str, role: Text) -> Response:
    """Set a user's role."""
    with web.home.write() as session:
        users.set_role(session, name, role, caller.name)
    return RedirectResponse("/users?done=role", 303)


@router.post("/users/{name}/password")
def set_password(
    request: Request, web: Shared, caller: Admin, name: str, password: Text
) -> Response:
    """Set a user's password."""
    with web.home.write() as session:
        users.set_password(session, name, password, caller.name)
    return RedirectResponse("/users?done=password", 303)


@router.post("/users/{name}/disable")
def disable(request: Request, web: Shared, caller: Admin, name: str) -> Response:
    """Disable a user."""
    with web.home.write() as session:
        users.disable(session, name, caller.name)
    return RedirectResponse("/users?done=disabled", 303)


@router.post("/users/{name}/enable")
def enable(request: Request, web: Shared, caller: Admin, name: str) -> Response:
    """Let a disabled user sign in again."""
    with web.home.write() as session:
        users.enable(session, name, caller.name)
    return RedirectResponse("/users?done=enabled", 303)


@router.get("/account")
def show_account(request: Request, caller: Viewer) -> Response:
    """Show the form of one's own password."""
    return render(request, "account.html", error="")


@router.post("/account")
def change_password(
    request: Request, web: Shared, caller: Viewer, old: Text = "", new: Text = ""
) -> Response:
    """Change one's own password, by the old one; all sessions end."""
    try:
        web.accounts.require(caller.name)
        with web.sign_ins.taken():
            if users.authenticate(web.home, caller.name, old) is None:
                raise FaceError("the old password is wrong.")
        web.accounts.give_back(caller.name)
        with web.home.write() as session:
            users.set_password(session, caller.name, new, caller.name)
    except (FaceError, Refusal) as error:
        page = render(request, "account.html", error=str(error))
        page.status_code = getattr(error, "status", 422)
        page.headers.update(getattr(error, "headers", {}))
        return page
    return RedirectResponse("/login", 303)


def _list(
    request: Request, web: Web, error: str = "", name: str = "", role: str = "viewer"
) -> Response:
    with web.home.read() as session:
        found = users.listed(session)
    page = render(
        request,
        "users.html",
        found=found,
        roles=users.ROLES,
        shortest=users.SHORTEST,
        error=error,
        name=name,
        role=role,
    )
    page.status_code = 422 if error else 200
    return page
