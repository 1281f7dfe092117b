"""Rendering of pages: templates in which everything is escaped."""

from __future__ import annotations

import base64
import functools
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from kd_face.images import encode_image
from kd_face.web.access import Caller

FOLDER = Path(__file__).parents[1] / "templates"
PER_PAGE = 24
NO_LIVENESS = (
    "There is no liveness detection: a printed photograph is recognized like a face. "
    "Do not open doors with it."
)
_NAVIGATION = (
    ("/", "Overview", "viewer"),
    ("/people", "People", "viewer"),
    ("/recognize", "Recognize", "viewer"),
    ("/camera", "Camera", "viewer"),
    ("/review", "Review", "operator"),
    ("/imports", "Import", "operator"),
    ("/calibration", "Calibration", "operator"),
    ("/models", "Models", "admin"),
    ("/users", "Users", "admin"),
    ("/keys", "API keys", "admin"),
    ("/audit", "Audit", "admin"),
)
# A page that something led to says so by a word in its address, never by a text that is in it.
_NOTICES = {
    "created": "The person is created.",
    "renamed": "The person is renamed.",
    "merged": "The people are merged.",
    "erased": "The person is deleted, with all pictures, embeddings and index entries.",
    "picture-deleted": "The picture is deleted, with its embeddings and index entry.",
    "assigned": "The face is now a picture of the person.",
    "dismissed": "The face is deleted.",
    "days": "The retention is set.",
    "rule": "The threshold is in use.",
    "rolled-back": "The earlier network is in use again.",
    "user-added": "The user is added.",
    "role": "The role is set.",
    "password": "The password is set; all sessions of the user have ended.",
    "disabled": "The user is disabled and signed out.",
    "enabled": "The user may sign in again.",
    "forgotten": "The embeddings of the network are deleted.",
    "measured": "The latency is measured.",
    "revoked": "The key is revoked.",
}


def render(request: Request, template: str, **content: Any) -> HTMLResponse:
    """Return a page.

    A template also has ``caller``, the :class:`kd_face.web.access.Caller` of the request;
    ``navigation``, the pages that it may see; ``path``; and ``notice``, what was just done.

    Args:
        request: For which it is.
        template: File in the folder of templates.
        **content: Variables of the template.
    """
    caller = getattr(request.state, "caller", Caller())
    page = _environment().get_template(template)
    shared = {
        "caller": caller,
        "navigation": [(at, text) for at, text, least in _NAVIGATION if caller.may(least)],
        "path": request.url.path,
        "notice": _NOTICES.get(request.query_params.get("done", ""), ""),
        "no_liveness": NO_LIVENESS,
    }
    return HTMLResponse(page.render(**(shared | content)))


def data_url(pixels: NDArray[Any]) -> str:
    """Return an image as the address of itself, for a picture that is shown and not kept.

    Args:
        pixels: RGB (H, W, 3), uint8.
    """
    return f"data:image/jpeg;base64,{base64.b64encode(encode_image(pixels)).decode()}"


def pages_of(total: int, page: int, each: int = PER_PAGE) -> tuple[int, int]:
    """Return a page number within what there is, and the number of pages, at least 1.

    Args:
        total: Number of rows.
        page: As it was asked for, from 1.
        each: Rows of a page.
    """
    last = max(1, -(-total // each))
    return min(max(page, 1), last), last


def _time(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC"


def _percent(value: float, digits: int = 2) -> str:
    return "-" if value != value else f"{value:.{digits}%}"


@functools.lru_cache(maxsize=1)
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"time": _time, "percent": _percent}
    return found
