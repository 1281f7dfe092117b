"""Sign-in: the throttle, the password, a new session, and its cookie."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request
from fastapi.responses import Response

from kd_face import sessions, users
from kd_face.web.answers import Refusal
from kd_face.web.state import Web
from kd_face.web.throttle import Throttle

WRONG = "name or password is wrong."


def sign_in(web: Web, request: Request, name: str, password: str) -> str:
    """Begin a session and return its token; the one that the browser had before ends.

    Args:
        web: State of the server.
        request: Its address counts, and its cookie ends.
        name: As it was typed.
        password: As it was typed.

    Raises:
        Refusal: 401 with the same words and after the same time for an unknown user, a disabled
            one and a wrong password; 429 after too many wrong ones, or where too many wait.
    """
    account = name.lower()[: users.LONGEST]
    address = request.client.host if request.client else ""
    pair = f"{address} {account}"
    counted = ((web.addresses, address), (web.pairs, pair), (web.accounts, account))
    for throttle, key in counted:
        throttle.require(key)
    try:
        with web.sign_ins.taken():
            user = users.authenticate(web.home, name, password)
    except Refusal:  # no password was tried
        _give_back(counted)
        raise
    if user is None:
        raise Refusal(401, WRONG)
    _give_back(counted)
    web.pairs.forget(pair)
    with web.home.write() as session:
        token, _ = sessions.begin(session, user, request.cookies.get(web.options.cookie))
    return token


def set_cookie(web: Web, response: Response, token: str) -> None:
    """Give the browser the token of its session."""
    response.set_cookie(
        web.options.cookie,
        token,
        max_age=sessions.HOURS * 3600,
        path="/",
        secure=web.options.tls,
        httponly=True,
        samesite="strict",
    )


def sign_out(web: Web, request: Request, response: Response) -> None:
    """End the session of a request, and take its cookie away."""
    if token := request.cookies.get(web.options.cookie):
        with web.home.write() as session:
            sessions.end(session, token)
    response.delete_cookie(
        web.options.cookie, path="/", secure=web.options.tls, httponly=True, samesite="strict"
    )


def local_path(path: str) -> str:
    """Return a path to go to after the sign-in; the first page, where it leads elsewhere."""
    is_local = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if is_local and path.isprintable() else "/"


def _give_back(counted: Sequence[tuple[Throttle, str]]) -> None:
    for throttle, key in counted:
        throttle.give_back(key)
