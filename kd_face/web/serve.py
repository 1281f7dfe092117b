"""Start of the server: where it may listen, its logs, and what it does every hour."""

from __future__ import annotations

import ipaddress
import logging
import threading
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from kd_face import unknown_faces
from kd_face.errors import FaceError
from kd_face.home import Home
from kd_face.pictures import Networks
from kd_face.web.app import create_app
from kd_face.web.logs import log_json
from kd_face.web.options import WebOptions
from kd_face.web.proxy import BehindProxy
from kd_face.web.state import Web

_HOUR = 3600.0
_CONNECTIONS = 500
_log = logging.getLogger("kd_face.web")


@dataclass(frozen=True)
class Listen:
    """Where the server listens.

    Args:
        host: Address.
        port: Number.
        proxy: Address of the proxy with TLS that alone may connect; None without one.
    """

    host: str
    port: int
    proxy: str | None = None


def require_safe(listen: Listen, options: WebOptions) -> None:
    """Require that nobody can send a password unencrypted over a network.

    Raises:
        FaceError: If the address is not one of loopback and no proxy with TLS is named, or one is
            named without the name under which browsers ask it.
    """
    if listen.proxy is None and not _is_loopback(listen.host):
        raise FaceError(
            f"the server must listen on loopback, but it is told {listen.host}. Passwords and "
            "images would cross the network unencrypted: put a proxy with TLS before it, and name "
            "the proxy's address by --behind-tls-proxy."
        )
    if listen.proxy is not None:
        _address(listen.proxy)
        if not options.tls or not options.hosts:
            raise FaceError(
                "behind a proxy, name what browsers ask for by --name, such as faces.example."
            )


def serve(home: Home, networks: Networks, listen: Listen, options: WebOptions) -> None:
    """Serve until the process is told to end.

    Args:
        home: The installation.
        networks: Detector and embedder.
        listen: Where.
        options: Of the server.

    Raises:
        FaceError: If it may not listen there.
    """
    require_safe(listen, options)
    log_json()
    app = create_app(home, networks, options)
    web: Web = app.state.web
    ended = threading.Event()
    threading.Thread(target=_keep_house, args=(web, ended), daemon=True).start()
    served: ASGIApp = app if listen.proxy is None else BehindProxy(app, listen.proxy)
    try:
        uvicorn.run(
            served,
            host=listen.host,
            port=listen.port,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=10,
        )
    finally:
        ended.set()
        _keep_index(web)


def _keep_house(web: Web, ended: threading.Event) -> None:
    """Delete what has expired, now and every hour."""
    while True:
        try:
            unknown_faces.expire(web.home)
        except Exception:
            _log.exception("expired faces could not be deleted")
        if ended.wait(_HOUR):
            return


def _keep_index(web: Web) -> None:
    try:
        web.index.save()
    except Exception:  # the database may have gone before; the index is made anew from it
        _log.exception("the index could not be kept")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or _address(host).is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise FaceError(f"an address is needed, such as 127.0.0.1, but it is {text!r}.") from None
