"""Schema of the REST API (OpenAPI), with the rule of access of every route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from kd_face.web.access import ANYONE, rule_of
from kd_face.web.api.forms import api_router

router = api_router("", "schema")


@router.get("/openapi.json", dependencies=[Depends(ANYONE)])
def read_schema(request: Request) -> dict[str, Any]:
    """Return this schema."""
    found: dict[str, Any] = request.app.state.schema
    return found


def write_schema(app: FastAPI, routes: Sequence[APIRoute]) -> None:
    """Give an application the schema of its API, with who may call each operation.

    Args:
        app: The application.
        routes: Of the API.
    """
    schema = get_openapi(title=app.title, version="1", routes=routes)
    schema["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": app.state.web.options.cookie,
            "description": "A signed-in user; unsafe requests need the header X-CSRF-Token",
        },
    }
    for route in routes:
        rule = rule_of(route)
        for method in (route.methods or ()) if rule.role else ():
            operation = schema["paths"][route.path][method.lower()]
            operation["security"] = [{"session": []}] + [{"key": []}] * bool(rule.scope)
            who = f"Users: {rule.role}. Keys: {rule.scope or 'none'}."
            operation["description"] = f"{operation['description']}\n\n{who}"
    app.state.schema = schema
