"""Pages of people: list, create, rename, merge, delete after a confirmation that says what goes."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from kd_face import erasure, people
from kd_face.database.models import Embedding, Person, Picture
from kd_face.errors import FaceError
from kd_face.web.access import Operator, Viewer
from kd_face.web.api.forms import Id
from kd_face.web.pages.rendering import PER_PAGE, pages_of, render
from kd_face.web.state import Shared, Web

router = APIRouter()
Name = Annotated[str, Form()]


@router.get("/people")
def show_people(
    request: Request, web: Shared, caller: Viewer, q: str = "", page: int = 1
) -> Response:
    """Show people by name."""
    return _list(request, web, q, page)


@router.post("/people")
def create_person(request: Request, web: Shared, caller: Operator, name: Name = "") -> Response:
    """Create a person and show it."""
    try:
        with web.home.write() as session:
            person_id = people.create(session, name, caller.name).id
    except FaceError as error:
        return _list(request, web, "", 1, error=str(error), name=name)
    return RedirectResponse(f"/people/{person_id}?done=created", 303)


@router.post("/people/{person_id}/rename")
def rename_person(
    request: Request, web: Shared, caller: Operator, person_id: Id, name: Name = ""
) -> Response:
    """Rename a person."""
    with web.home.write() as session:
        people.rename(session, person_id, name, caller.name)
    return RedirectResponse(f"/people/{person_id}?done=renamed", 303)


@router.post("/people/{person_id}/merge")
def merge_person(
    request: Request, web: Shared, caller: Operator, person_id: Id, name: Name = ""
) -> Response:
    """Give all pictures of a person to another one, who is named, and delete the first."""
    with web.home.read() as session:
        into = people.find(session, name)
        if into is None:
            raise FaceError(f"there is no person {people.clean_name(name)!r} to merge into.")
        into_id = into.id
    people.merge(web.home, person_id, into_id, caller.name)
    return RedirectResponse(f"/people/{into_id}?done=merged", 303)


@router.get("/people/{person_id}/delete")
def confirm_delete(request: Request, web: Shared, caller: Operator, person_id: Id) -> Response:
    """Say what goes with a person, and ask."""
    with web.home.read() as session:
        content = _what_goes(session, person_id)
    return render(request, "person_delete.html", **content)


@router.post("/people/{person_id}/delete")
def delete_person(request: Request, web: Shared, caller: Operator, person_id: Id) -> Response:
    """Delete a person with everything that belongs to it."""
    erasure.erase(web.home, person_id, caller.name)
    return RedirectResponse("/people?done=erased", 303)


def _list(
    request: Request, web: Web, text: str, page: int, error: str = "", name: str = ""
) -> Response:
    with web.home.read() as session:
        total = people.search(session, text, 0, 0)[1]
        page, last = pages_of(total, page)
        found, _ = people.search(session, text, (page - 1) * PER_PAGE, PER_PAGE)
        first = _first_pictures(session, [person.id for person, _ in found])
    response = render(
        request,
        "people.html",
        found=found,
        first=first,
        total=total,
        page=page,
        last=last,
        text=text,
        query=urlencode({"q": text}) + "&" if text else "",
        error=error,
        name=name,
    )
    response.status_code = 422 if error else 200
    return response


def _first_pictures(session: Session, ids: list[int]) -> dict[int, int]:
    chosen = select(Picture.person_id, func.min(Picture.id)).where(Picture.person_id.in_(ids))
    return {one: picture for one, picture in session.execute(chosen.group_by(Picture.person_id))}


def _what_goes(session: Session, person_id: int) -> dict[str, Any]:
    person: Person = people.require(session, person_id)
    own = select(Picture.id).where(Picture.person_id == person_id)
    rows = select(func.count()).select_from(Embedding).where(Embedding.picture_id.in_(own))
    return {
        "person": person,
        "pictures": session.scalar(select(func.count()).select_from(own.subquery())) or 0,
        "embeddings": session.scalar(rows) or 0,
        "unknown": len(erasure.unknown_alike(session, person_id)),
    }
