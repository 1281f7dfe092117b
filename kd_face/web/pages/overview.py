"""First page: what the installation holds, and what is to be done next."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from kd_face import people, review, settings, spaces, unknown_faces
from kd_face.database.models import ModelVersion
from kd_face.recognition import Rule, calibrated_rule
from kd_face.web.access import Viewer
from kd_face.web.pages.rendering import render
from kd_face.web.state import Shared, Web

router = APIRouter()


@router.get("/")
def show_overview(request: Request, web: Shared, caller: Viewer) -> Response:
    """Show numbers, the network in use, and the next step."""
    with web.home.read() as session:
        count, pictures = people.counts(session)
        rule = calibrated_rule(session)
        content = {
            "people": count,
            "pictures": pictures,
            "waiting": review.waiting(session, 0, 1)[1],
            "days": settings.get(session, unknown_faces.DAYS, 0),
            "model": session.get(ModelVersion, settings.get(session, spaces.ACTIVE, -1)),
            "rule": rule or Rule(web.networks.embedder.threshold),
            "is_calibrated": rule is not None,
        }
    return render(request, "overview.html", is_other_network=_is_other(web), **content)


def _is_other(web: Web) -> bool:
    """Return whether the gallery was embedded by another network than the server has loaded."""
    with web.home.read() as session:
        return not _fits(session, web)


def _fits(session: Session, web: Web) -> bool:
    active = session.get(ModelVersion, settings.get(session, spaces.ACTIVE, -1))
    embedder = web.networks.embedder
    return active is None or (active.name, active.version) == (embedder.name, embedder.version)
