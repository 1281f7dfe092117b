"""REST API of pictures of people: add, list, show, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel

from kd_face import people, pictures
from kd_face.database.models import Picture
from kd_face.web.api.forms import Id, Limit, Offset, Reader, Upload, Writer, api_router, image_of
from kd_face.web.state import Shared

router = api_router("", "pictures")
JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "A JPEG without metadata"}
}


class PictureAnswer(BaseModel):
    """A picture; the box of its face is left, top, right, bottom in pixels of the stored image."""

    id: int
    person: int
    name: str
    box: tuple[float, float, float, float]
    created_at: datetime


class PicturesAnswer(BaseModel):
    """A page of pictures, the newest first, and how many there are in all."""

    pictures: list[PictureAnswer]
    total: int


@router.get("/people/{person_id}/pictures")
def list_pictures(
    web: Shared, caller: Reader, person_id: Id, offset: Offset = 0, limit: Limit = 50
) -> PicturesAnswer:
    """List the pictures of a person."""
    with web.home.read() as session:
        people.require(session, person_id)
        found = pictures.of_person(session, person_id, offset, limit)
        total = people.count_pictures(session, person_id)
    return PicturesAnswer(pictures=[_answer(one) for one in found], total=total)


@router.post("/people/{person_id}/pictures", status_code=201)
def add_picture(web: Shared, caller: Writer, person_id: Id, file: Upload) -> PictureAnswer:
    """Add a picture of a person; one that does not pass is refused with all reasons."""
    with web.home.read() as session:
        people.require(session, person_id)
    content, name = image_of(file, web.networks.limits)
    with web.recognitions.taken():
        ready = pictures.prepare(web.networks, content, name)
    added = pictures.add(web.home, person_id, web.networks, ready, caller.name)
    with web.home.read() as session:
        return _answer(pictures.require(session, added))


@router.get("/pictures/{picture_id}/image", response_class=Response, responses=JPEG)
def show_picture(web: Shared, caller: Reader, picture_id: Id) -> Response:
    """Return a picture as it is stored: encoded anew, without metadata."""
    with web.home.read() as session:
        blob = pictures.require(session, picture_id).blob
    return Response(web.home.blobs.read(blob), media_type="image/jpeg")


@router.delete("/pictures/{picture_id}", status_code=204)
def delete_picture(web: Shared, caller: Writer, picture_id: Id) -> None:
    """Delete a picture."""
    pictures.remove(web.home, picture_id, caller.name)


def _answer(picture: Picture) -> PictureAnswer:
    return PictureAnswer(
        id=picture.id,
        person=picture.person_id,
        name=picture.name,
        box=pictures.stored_face(picture).box,
        created_at=picture.created_at,
    )
