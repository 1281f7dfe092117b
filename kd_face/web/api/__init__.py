"""REST API, below ``/api/v1``."""

from __future__ import annotations

from fastapi import APIRouter

from kd_face.web.api import admin, imports, models, people, pictures, recognition, schema, unknown

ROUTERS: tuple[APIRouter, ...] = (
    recognition.router,
    people.router,
    pictures.router,
    imports.router,
    unknown.router,
    models.router,
    admin.router,
    schema.router,
)
