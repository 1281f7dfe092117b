"""REST API of unknown faces that wait for review."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends
from fastapi.responses import Response
from pydantic import BaseModel

from kd_face import people, review
from kd_face.database.models import UnknownFace
from kd_face.web.access import Caller, scope
from kd_face.web.api.forms import Id, Limit, Name, Offset, PersonRef, Writer, api_router
from kd_face.web.api.pictures import JPEG
from kd_face.web.state import Shared

router = api_router("/unknown-faces", "unknown faces")
Reviewer = Annotated[Caller, Depends(scope("people:read", "operator"))]


class UnknownAnswer(BaseModel):
    """A face that was not recognized."""

    id: int
    seen_at: datetime
    expires_at: datetime


class UnknownsAnswer(BaseModel):
    """A page of faces, the newest first, and how many there are in all."""

    faces: list[UnknownAnswer]
    total: int


class Assignment(BaseModel):
    """Name of the person that a face is; a new name makes a new person."""

    name: Name


@router.get("")
def list_unknown(
    web: Shared, caller: Reviewer, offset: Offset = 0, limit: Limit = 50
) -> UnknownsAnswer:
    """List the faces that wait for review."""
    with web.home.read() as session:
        found, total = review.waiting(session, offset, limit)
    return UnknownsAnswer(faces=[_answer(one) for one in found], total=total)


@router.get("/{face_id}/image", response_class=Response, responses=JPEG)
def show_unknown(web: Shared, caller: Reviewer, face_id: Id) -> Response:
    """Return a face and what was around it."""
    with web.home.read() as session:
        blob = review.require(session, face_id).blob
    return Response(web.home.blobs.read(blob), media_type="image/jpeg")


@router.post("/{face_id}/assign")
def assign_unknown(web: Shared, caller: Writer, face_id: Id, body: Assignment) -> PersonRef:
    """Make a face a picture of a person; it has to pass the gate as every picture."""
    with web.recognitions.taken():
        person = review.assign(web.home, web.networks, face_id, body.name, caller.name)
    return PersonRef(id=person, name=people.clean_name(body.name))


@router.delete("/{face_id}", status_code=204)
def dismiss_unknown(web: Shared, caller: Writer, face_id: Id) -> None:
    """Delete a face."""
    review.dismiss(web.home, face_id, caller.name)


def _answer(face: UnknownFace) -> UnknownAnswer:
    return UnknownAnswer(id=face.id, seen_at=face.seen_at, expires_at=face.expires_at)
