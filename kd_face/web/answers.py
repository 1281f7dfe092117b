"""Answers to what goes wrong: JSON below ``/api``, otherwise a page; never a stack trace."""

from __future__ import annotations

import http
import logging
import math
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from kd_face.errors import Conflict, FaceError, Missing, Unavailable

_AGAIN = 10  # seconds
_log = logging.getLogger("kd_face.web")
_PROGRAMS = ("/api/", "/health", "/metrics")  # paths that programs ask for


class Refusal(Exception):
    """A request is refused.

    Args:
        status: HTTP status.
        message: One or two sentences for the user.
        retry_after: Seconds, for the header ``Retry-After``.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.status, self.message = status, message
        self.headers: dict[str, str] = {}
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))


def install(app: FastAPI) -> None:
    """Make an application answer every error in this way."""
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(FaceError, _face_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def answer(
    request: Request, status: int, message: str, headers: dict[str, str] | None = None
) -> Response:
    """Return an error as its caller can read it.

    Args:
        request: Of the caller.
        status: HTTP status.
        message: For the user.
        headers: Further headers.
    """
    if request.url.path.startswith(_PROGRAMS):
        return JSONResponse({"error": message}, status, headers)
    if status == 401 and request.method == "GET":
        return _to_login(request)
    from kd_face.web.pages.rendering import render  # the pages import this module

    title = http.HTTPStatus(status).phrase
    page = render(request, "error.html", title=title, message=message, back=_back(request))
    page.status_code = status
    page.headers.update(headers or {})
    return page


def _back(request: Request) -> str:
    """Return the page of this server that a request came from, otherwise the first one."""
    came = urlsplit(request.headers.get("Referer", ""))
    is_own = came.netloc == request.headers.get("Host") and not came.path.startswith("//")
    return (came.path or "/") if is_own else "/"


def _to_login(request: Request) -> Response:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = f"/login?next={quote(path)}"
    if "HX-Request" in request.headers:  # htmx would put the login page into a part of this one
        return Response(status_code=204, headers={"HX-Redirect": "/login"})
    return RedirectResponse(target, 303)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return answer(request, error.status, error.message, error.headers)


async def _face_error(request: Request, error: Exception) -> Response:
    if isinstance(error, Unavailable):
        _log.warning("the database cannot be written to", exc_info=error)
        text = "the database cannot be written to. Try again."  # its own words may name a host
        return answer(request, 503, text, {"Retry-After": str(_AGAIN)})
    status = 404 if isinstance(error, Missing) else 409 if isinstance(error, Conflict) else 422
    return answer(request, status, str(error))


async def _invalid(request: Request, error: Exception) -> Response:
    """Name the fields; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    found = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
    return answer(request, 422, "; ".join(found))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = http.HTTPStatus(error.status_code).phrase + "."
    return answer(request, error.status_code, message, dict(error.headers or {}))
