"""Pages of the web server: they work without JavaScript, but for the camera and live progress."""

from __future__ import annotations

from fastapi import APIRouter

from kd_face.web.pages import (
    accounts,
    audit,
    calibration,
    imports,
    keys,
    login,
    models,
    overview,
    people,
    pictures,
    recognize,
    review,
)

ROUTERS: tuple[APIRouter, ...] = (
    login.router,
    overview.router,
    people.router,
    pictures.router,
    imports.router,
    recognize.router,
    review.router,
    calibration.router,
    models.router,
    accounts.router,
    keys.router,
    audit.router,
)
