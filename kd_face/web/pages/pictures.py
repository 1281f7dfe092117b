"""Pages of one person's pictures: upload with the reasons of the quality gate, show, delete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import RedirectResponse, Response
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from kd_face import people, pictures
from kd_face.database.models import Picture
from kd_face.errors import FaceError
from kd_face.images import encode_image, read_image
from kd_face.review import surroundings
from kd_face.web.access import Caller, Operator, Viewer
from kd_face.web.api.forms import Id
from kd_face.web.pages.rendering import PER_PAGE, pages_of, render
from kd_face.web.state import Shared, Web

router = APIRouter()
_THUMB = 240  # pixels
_MOST_NAMES = 500  # that are offered while one types
_MOST_FILES = 50  # of an upload


@dataclass(frozen=True)
class Uploaded:
    """What became of a file.

    Args:
        name: Of the file.
        reason: Why it was refused; empty if it is added.
    """

    name: str
    reason: str = ""


@router.get("/people/{person_id}")
def show_person(
    request: Request, web: Shared, caller: Viewer, person_id: Id, page: int = 1
) -> Response:
    """Show a person's pictures."""
    return _person(request, web, person_id, page, ())


@router.post("/people/{person_id}/pictures")
def upload_pictures(
    request: Request,
    web: Shared,
    caller: Operator,
    person_id: Id,
    files: Annotated[list[UploadFile], File()],
) -> Response:
    """Add pictures, and say of each what became of it."""
    if len(files) > _MOST_FILES:
        raise FaceError(
            f"at most {_MOST_FILES} pictures are added at a time, but these are {len(files)}. Send "
            "fewer, or import a ZIP."
        )
    with web.home.read() as session:
        people.require(session, person_id)
    report = tuple(_add(web, caller, person_id, one, one is files[0]) for one in files)
    response = _person(request, web, person_id, 1, report)
    response.status_code = 422 if all(one.reason for one in report) else 200
    return response


@router.post("/pictures/{picture_id}/delete")
def delete_picture(request: Request, web: Shared, caller: Operator, picture_id: Id) -> Response:
    """Delete a picture."""
    with web.home.read() as session:
        person_id = pictures.require(session, picture_id).person_id
    pictures.remove(web.home, picture_id, caller.name)
    return RedirectResponse(f"/people/{person_id}?done=picture-deleted", 303)


@router.get("/pictures/{picture_id}/image")
def show_picture(web: Shared, caller: Viewer, picture_id: Id) -> Response:
    """Send a picture, encoded anew."""
    with web.home.read() as session:
        picture = pictures.require(session, picture_id)
    return jpeg(read_image(web.home.blobs.read(picture.blob), picture.name))


@router.get("/pictures/{picture_id}/face")
def show_face(web: Shared, caller: Viewer, picture_id: Id) -> Response:
    """Send a small image of the face of a picture."""
    with web.home.read() as session:
        picture = pictures.require(session, picture_id)
    pixels = read_image(web.home.blobs.read(picture.blob), picture.name)
    return jpeg(small(surroundings(pixels, pictures.stored_face(picture), 0.3)))


def jpeg(pixels: NDArray[Any]) -> Response:
    """Return pixels as the answer to a request."""
    return Response(encode_image(pixels), media_type="image/jpeg")


def small(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels with the longer side at most 240."""
    image = Image.fromarray(pixels)
    image.thumbnail((_THUMB, _THUMB))
    return pixels if image.size == pixels.shape[1::-1] else np.asarray(image)


def names(session: Session) -> list[str]:
    """Return names of people that a form offers, at most 500."""
    return [person.name for person, _ in people.search(session, "", 0, _MOST_NAMES)[0]]


def _add(web: Web, caller: Caller, person_id: int, file: UploadFile, is_first: bool) -> Uploaded:
    name = (file.filename or "file")[-255:]
    try:
        content = file.file.read(web.networks.limits.max_bytes + 1)
        with web.recognitions.taken(is_patient=not is_first):  # none is refused after another
            ready = pictures.prepare(web.networks, content, name)
        pictures.add(web.home, person_id, web.networks, ready, caller.name)
    except FaceError as error:
        return Uploaded(name, str(error).removeprefix(name).lstrip(": "))
    return Uploaded(name)


def _person(
    request: Request, web: Web, person_id: int, page: int, report: tuple[Uploaded, ...]
) -> Response:
    own = Picture.person_id == person_id
    with web.home.read() as session:
        person = people.require(session, person_id)
        total = session.scalar(select(func.count()).select_from(Picture).where(own)) or 0
        page, last = pages_of(total, page)
        chosen = select(Picture).where(own).order_by(Picture.id.desc())
        found = session.scalars(chosen.offset((page - 1) * PER_PAGE).limit(PER_PAGE)).all()
        offered = names(session) if request.state.caller.may("operator") else []
    return render(
        request,
        "person.html",
        person=person,
        found=found,
        total=total,
        page=page,
        last=last,
        report=report,
        names=[one for one in offered if one != person.name],
        limits=web.networks.limits,
        most_files=_MOST_FILES,
    )
