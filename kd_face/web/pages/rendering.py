"""Rendering of pages: templates in which everything is escaped."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kd_face.web.access import Caller

FOLDER = Path(__file__).parents[1] / "templates"


def render(request: Request, template: str, **content: Any) -> HTMLResponse:
    """Return a page.

    A template also has ``caller``: the :class:`kd_face.web.access.Caller` of the request.

    Args:
        request: For which it is.
        template: File in the folder of templates.
        **content: Variables of the template.
    """
    caller = getattr(request.state, "caller", Caller())
    page = _environment().get_template(template)
    return HTMLResponse(page.render(caller=caller, **content))


@functools.lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
