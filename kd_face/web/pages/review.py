"""Pages of the review: faces that were not recognized, and for how many days they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from kd_face import review, settings, spaces, unknown_faces
from kd_face.database.models import UnknownFace, from_bytes
from kd_face.errors import FaceError
from kd_face.images import read_image
from kd_face.recognition import Rule, nearest_person, rule_of
from kd_face.web.access import Operator
from kd_face.web.api.forms import Id
from kd_face.web.pages.pictures import jpeg, names, small
from kd_face.web.pages.rendering import PER_PAGE, pages_of, render
from kd_face.web.state import Shared, Web

router = APIRouter()


@dataclass(frozen=True)
class Suggestion:
    """The nearest person of a face.

    Args:
        name: Of the person; empty in an empty gallery.
        person_id: The person's id.
        reason: Why the face is not that person, in words.
        picture_id: The nearest picture.
    """

    name: str
    person_id: int
    reason: str
    picture_id: int


@router.get("/review")
def show_review(request: Request, web: Shared, caller: Operator, page: int = 1) -> Response:
    """Show the faces that wait, the newest first."""
    return _queue(request, web, page, "")


@router.post("/review/days")
def set_days(
    request: Request, web: Shared, caller: Operator, days: Annotated[int, Form()]
) -> Response:
    """Set for how many days faces are kept from now on."""
    with web.home.write() as session:
        unknown_faces.set_days(session, days, caller.name)
    return RedirectResponse("/review?done=days", 303)


@router.post("/review/{face_id}/assign")
def assign_face(
    request: Request,
    web: Shared,
    caller: Operator,
    face_id: Id,
    name: Annotated[str, Form()] = "",
) -> Response:
    """Make a face a picture of a person, who may be new."""
    try:
        with web.recognitions.taken():
            review.assign(web.home, web.networks, face_id, name, caller.name)
    except FaceError as error:
        return _queue(request, web, 1, str(error))
    return RedirectResponse("/review?done=assigned", 303)


@router.post("/review/{face_id}/dismiss")
def dismiss_face(request: Request, web: Shared, caller: Operator, face_id: Id) -> Response:
    """Delete a face."""
    review.dismiss(web.home, face_id, caller.name)
    return RedirectResponse("/review?done=dismissed", 303)


@router.get("/review/{face_id}/image")
def show_unknown(web: Shared, caller: Operator, face_id: Id) -> Response:
    """Send the image of a face, encoded anew."""
    with web.home.read() as session:
        blob = review.require(session, face_id).blob
    return jpeg(small(read_image(web.home.blobs.read(blob), "the face")))


def _queue(request: Request, web: Web, page: int, error: str) -> Response:
    unknown_faces.expire(web.home)
    with web.home.read() as session:
        total = review.waiting(session, 0, 0)[1]
        page, last = pages_of(total, page)
        found, _ = review.waiting(session, (page - 1) * PER_PAGE, PER_PAGE)
        suggestions = _suggestions(session, web, found)
        days = settings.get(session, unknown_faces.DAYS, 0)
        offered = names(session)
    response = render(
        request,
        "review.html",
        found=found,
        suggestions=suggestions,
        total=total,
        page=page,
        last=last,
        days=days,
        most=unknown_faces.MOST_DAYS,
        names=offered,
        error=error,
    )
    response.status_code = 422 if error else 200
    return response


def _suggestions(session: Session, web: Web, found: list[UnknownFace]) -> dict[int, Suggestion]:
    """Return the nearest person of each face that is in the space in use."""
    active = settings.get(session, spaces.ACTIVE)
    try:
        rule = rule_of(session, web.networks)
    except FaceError:  # no picture yet, or another network
        return {}
    nearest = {
        face.id: _suggestion(session, web, rule, face) for face in found if face.model_id == active
    }
    return {face_id: one for face_id, one in nearest.items() if one}


def _suggestion(session: Session, web: Web, rule: Rule, face: UnknownFace) -> Suggestion | None:
    near = nearest_person(session, web.index, from_bytes(face.vector))
    if near is None:
        return None
    _, reason = rule.decide(near.similarity, near.margin)
    return Suggestion(near.person[1], near.person[0], reason, near.picture_id)
