"""REST API of people: create, list, rename, merge, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel

from kd_face import erasure, people
from kd_face.database.models import Person
from kd_face.web.api.forms import Id, Limit, Name, Offset, Reader, Writer, api_router
from kd_face.web.state import Shared

router = api_router("/people", "people")


class PersonName(BaseModel):
    """Name of a person."""

    name: Name


class MergeTarget(BaseModel):
    """Person that gets the pictures."""

    into: Id


class PersonAnswer(BaseModel):
    """A person with the number of pictures."""

    id: int
    name: str
    created_at: datetime
    pictures: int


class PeopleAnswer(BaseModel):
    """A page of people, by name, and how many there are in all."""

    people: list[PersonAnswer]
    total: int


class ErasedAnswer(BaseModel):
    """Number of pictures, and of faces that waited for review, that went with a person."""

    pictures: int
    unknown_faces: int


@router.get("")
def list_people(
    web: Shared,
    caller: Reader,
    search: Annotated[str, Query(max_length=200)] = "",
    offset: Offset = 0,
    limit: Limit = 50,
) -> PeopleAnswer:
    """List people whose names contain a text, upper and lower case alike."""
    with web.home.read() as session:
        found, total = people.search(session, search, offset, limit)
        return PeopleAnswer(people=[_answer(*one) for one in found], total=total)


@router.post("", status_code=201)
def create_person(web: Shared, caller: Writer, body: PersonName) -> PersonAnswer:
    """Add a person."""
    with web.home.write() as session:
        return _answer(people.create(session, body.name, caller.name), 0)


@router.get("/{person_id}")
def read_person(web: Shared, caller: Reader, person_id: Id) -> PersonAnswer:
    """Return a person."""
    with web.home.read() as session:
        return _answer(
            people.require(session, person_id), people.count_pictures(session, person_id)
        )


@router.patch("/{person_id}")
def rename_person(web: Shared, caller: Writer, person_id: Id, body: PersonName) -> PersonAnswer:
    """Rename a person."""
    with web.home.write() as session:
        people.rename(session, person_id, body.name, caller.name)
    return read_person(web, caller, person_id)


@router.delete("/{person_id}")
def erase_person(web: Shared, caller: Writer, person_id: Id) -> ErasedAnswer:
    """Delete a person with all pictures. Backups keep them until they expire."""
    gone = erasure.erase(web.home, person_id, caller.name)
    return ErasedAnswer(pictures=gone.pictures, unknown_faces=gone.unknown_faces)


@router.post("/{person_id}/merge")
def merge_person(web: Shared, caller: Writer, person_id: Id, body: MergeTarget) -> PersonAnswer:
    """Give all pictures of a person to another one, and delete the first."""
    people.merge(web.home, person_id, body.into, caller.name)
    return read_person(web, caller, body.into)


def _answer(person: Person, pictures: int) -> PersonAnswer:
    return PersonAnswer(
        id=person.id, name=person.name, created_at=person.created_at, pictures=pictures
    )
