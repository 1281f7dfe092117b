"""Pages of the web server."""

from __future__ import annotations

from fastapi import APIRouter

from kd_face.web.pages import login

ROUTERS: tuple[APIRouter, ...] = (login.router,)
