"""Proxy before the server: it alone may connect, and says over HTTPS who has asked."""

from __future__ import annotations

from fastapi.responses import PlainTextResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send


class BehindProxy:
    """ASGI middleware that believes the forwarded headers of one address, and refuses all others.

    Args:
        app: The application.
        address: Of the proxy.
    """

    def __init__(self, app: ASGIApp, address: str):
        self._app, self._address = app, address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, client = Headers(scope=scope), scope.get("client")
        if client is None or client[0] != self._address:
            await PlainTextResponse("Ask the proxy.", 403)(scope, receive, send)
            return
        # The proxy appends the address that it has seen; what is before it is anybody's word.
        asked = ",".join(headers.getlist("X-Forwarded-For")).rpartition(",")[2].strip()
        if headers.get("X-Forwarded-Proto") != "https" or not asked:
            text = "The proxy must send X-Forwarded-For, and X-Forwarded-Proto: https."
            await PlainTextResponse(text, 403)(scope, receive, send)
            return
        await self._app({**scope, "client": (asked, 0), "scheme": "https"}, receive, send)
