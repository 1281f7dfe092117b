"""REST API, below ``/api/v1``."""

from __future__ import annotations

from fastapi import APIRouter

from kd_face.web.api import admin, models, people, pictures, recognition, schema, unknown

ROUTERS: tuple[APIRouter, ...] = (
    recognition.router,
    people.router,
    pictures.router,
    unknown.router,
    models.router,
    admin.router,
    schema.router,
)
