"""Start of the server: its logs, and what it does every hour."""

from __future__ import annotations

import logging
import threading

import uvicorn
from starlette.types import ASGIApp

from kd_face import unknown_faces
from kd_face.home import Home
from kd_face.pictures import Networks
from kd_face.web.app import create_app
from kd_face.web.following import keep_following
from kd_face.web.listen import Listen, require_safe
from kd_face.web.logs import log_json
from kd_face.web.options import WebOptions
from kd_face.web.proxy import BehindProxy
from kd_face.web.state import Web

_HOUR = 3600.0
_CONNECTIONS = 500
_log = logging.getLogger("kd_face.web")


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
    for work in (_keep_house, keep_following):
        threading.Thread(target=work, args=(web, ended), daemon=True).start()
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
