"""Guard around the application: security headers, size of bodies, and errors nobody has caught."""

from __future__ import annotations

import logging
import time
from urllib.parse import urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kd_face.web.access import SAFE, Access, Caller, admits
from kd_face.web.answers import Refusal, answer
from kd_face.web.logs import log_request
from kd_face.web.state import Web

IMPORTS = "/imports"  # the end of the paths that take a ZIP
_KNOWN = Access("viewer")  # or any key
_IMPORTER = Access("operator", "people:write")
STRANGER = 64 * 2**10  # bytes of a body from nobody we know: a sign-in fits
_FORM = 2**20  # bytes besides the image of an upload

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_log = logging.getLogger("kd_face.web")


class Guard:
    """ASGI middleware, the outermost one.

    Args:
        app: What it guards.
        web: State of the server.
    """

    def __init__(self, app: ASGIApp, web: Web):
        self._app, self._web = app, web
        self._image = web.networks.limits.max_bytes + _FORM

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        request, passage = Request(scope), _Passage(receive, send, self._headers(scope))
        try:
            await self._serve(scope, request, passage)
        finally:
            seconds = time.perf_counter() - begin
            method, route = request.method, _template(scope)
            self._web.metrics.count(method, route, passage.status, seconds)
            log_request(method, route, passage.status, seconds, _kind(scope))

    async def _serve(self, scope: Scope, request: Request, passage: _Passage) -> None:
        try:
            self._require_own_name(request)
            _require_own_origin(request)
            passage.limit = await self._limit(request)
            await self._app(scope, passage.receive, passage.send)
            if not passage.is_over:  # FastAPI answers 400 where a body cannot be read
                return
            refusal = _too_large(passage.limit)
        except Refusal as error:
            refusal = error
        except Exception:
            _log.exception("a request has failed")
            refusal = Refusal(500, "the server has failed. Its log says why.")
        if not passage.is_started:
            passage.is_over = False
            response = answer(request, refusal.status, refusal.message, refusal.headers)
            await response(scope, passage.receive, passage.send)

    def _headers(self, scope: Scope) -> dict[str, str]:
        is_static = scope["path"].startswith("/static/")
        found = {**_HEADERS, "Cache-Control": "no-cache" if is_static else "no-store"}
        if self._web.options.tls:
            found["Strict-Transport-Security"] = "max-age=31536000"
        return found

    def _require_own_name(self, request: Request) -> None:
        """Refuse a foreign name that leads to this machine (DNS rebinding)."""
        try:
            host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
        except ValueError:
            host = None
        if host not in self._web.options.hosts:
            raise Refusal(400, "the server is not known by this name.")

    async def _limit(self, request: Request) -> int:
        """Return how many bytes the body may have, before any is read."""
        if request.method in SAFE:
            return STRANGER
        size, limit = _declared(request.headers), STRANGER
        if size is None or size > STRANGER:
            limit = await run_in_threadpool(self._limit_of_caller, request)
        if size is not None and size > limit:
            raise _too_large(limit)
        return limit

    def _limit_of_caller(self, request: Request) -> int:
        if not admits(self._web, request, _KNOWN):
            return STRANGER
        if request.url.path.endswith(IMPORTS) and admits(self._web, request, _IMPORTER):
            return self._web.options.max_import + _FORM
        return self._image


def _require_own_origin(request: Request) -> None:
    """Refuse what another site makes a browser send, also where no session is needed yet."""
    if request.method in SAFE:
        return
    own = f"{request.url.scheme}://{request.headers.get('Host', '')}"
    site = request.headers.get("Sec-Fetch-Site", "none")  # "none": the user's own doing
    is_own = request.headers.get("Origin", own).lower() == own.lower()
    if not is_own or site not in ("none", "same-origin"):
        raise Refusal(403, "the request comes from another site. Load the page again.")


def _declared(headers: Headers) -> int | None:
    """Return the size that the body is said to have; None if it is sent in chunks."""
    if "Transfer-Encoding" in headers:
        return None
    size = headers.get("Content-Length", "0")
    if not size.isascii() or not size.isdigit():
        raise Refusal(400, "the length of the body is no number.")
    return int(size)


class _Passage:
    """What goes in and out of the application for one request."""

    def __init__(self, receive: Receive, send: Send, headers: dict[str, str]):
        self._receive, self._send, self._headers = receive, send, headers
        self.limit, self._read = 0, 0
        self.is_over = self.is_started = False
        self.status = 499  # the client has gone before there was an answer

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self.limit:
            self.is_over = not self.is_started
            raise _too_large(self.limit)
        return message

    async def send(self, message: Message) -> None:
        if self.is_over:
            return
        if message["type"] == "http.response.start":
            self.is_started, self.status = True, message["status"]
            MutableHeaders(scope=message).update(self._headers)
        await self._send(message)


def _template(scope: Scope) -> str:
    """Return the template of a route, so that metrics have few of them and logs no ids."""
    if scope["path"].startswith("/static/"):
        return "/static"
    return str(getattr(scope.get("route"), "path", "none"))


def _kind(scope: Scope) -> str:
    """Return who has asked, without a user's name."""
    caller = scope.get("state", {}).get("caller", Caller())
    return str(caller.role or caller.name)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body may have at most {limit:,} bytes. Send less.")
