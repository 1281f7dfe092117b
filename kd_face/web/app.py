"""Application of the web server: routes, state and guard put together."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from kd_face.home import Home
from kd_face.pictures import Networks
from kd_face.web import answers, api, health, pages
from kd_face.web.guard import Guard
from kd_face.web.options import WebOptions
from kd_face.web.state import Web

API = "/api/v1"
STATIC = Path(__file__).parent / "static"


def create_app(home: Home, networks: Networks, options: WebOptions) -> FastAPI:
    """Return the web application of an installation.

    Args:
        home: The installation.
        networks: Detector and embedder.
        options: Of the server.
    """
    app = FastAPI(title="kdkit face", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.web = Web(home, networks, options)
    answers.install(app)
    app.include_router(health.router)
    for router in api.ROUTERS:
        app.include_router(router, prefix=API)
    for router in pages.ROUTERS:
        app.include_router(router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, web=app.state.web)
    return app
