"""Application of the web server: routes, state and guard put together."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles

from kd_face.home import Home
from kd_face.pictures import Networks
from kd_face.web import answers, api, health, metrics, pages
from kd_face.web.api.schema import write_schema
from kd_face.web.guard import Guard
from kd_face.web.options import WebOptions
from kd_face.web.state import Web

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
    for router in (health.router, metrics.router, *api.ROUTERS, *pages.ROUTERS):
        app.router.routes.extend(router.routes)  # as they are, so that their rules can be read
    write_schema(app, [one for router in api.ROUTERS for one in _routes(router)])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, web=app.state.web)
    return app


def _routes(router: APIRouter) -> list[APIRoute]:
    return [route for route in router.routes if isinstance(route, APIRoute)]
