"""People of the gallery: create, find, rename, merge; :mod:`kd_face.erasure` deletes them."""

from __future__ import annotations

import unicodedata

from sqlalchemy import delete, func, select, true, update
from sqlalchemy.orm import Session

from kd_face import audit, settings
from kd_face.database.models import Person, Picture
from kd_face.errors import Conflict, FaceError, Missing
from kd_face.home import Home, now

_LONGEST = 200


def create(session: Session, name: str, actor: str) -> Person:
    """Add a person.

    Args:
        session: Of a transaction that writes.
        name: 1 to 200 characters; two people cannot have the same.
        actor: For the audit log.

    Raises:
        FaceError: If the name cannot be one, or is taken.
    """
    person = Person(name=_free(session, name), created_at=now())
    session.add(person)
    session.flush()
    audit.append(session, actor, "person.create", {"person": person.id})
    return person


def find(session: Session, name: str) -> Person | None:
    """Return the person of a name, or None."""
    return session.scalars(select(Person).where(Person.name == clean_name(name))).one_or_none()


def rename(session: Session, person_id: int, name: str, actor: str) -> None:
    """Rename a person.

    Raises:
        FaceError: If there is no such person, the name cannot be one, or is another person's.
    """
    person = require(session, person_id)
    if clean_name(name) != person.name:
        person.name = _free(session, name)
        audit.append(session, actor, "person.rename", {"person": person_id})


def merge(home: Home, person_id: int, into_id: int, actor: str) -> None:
    """Give all pictures of a person to another one and delete the first.

    Args:
        home: The installation.
        person_id: Whose pictures move; one that the other person has as well is deleted.
        into_id: Who gets them.
        actor: For the audit log.

    Raises:
        FaceError: If one of them does not exist, or both are the same.
    """
    if person_id == into_id:
        raise FaceError("a person cannot be merged with itself. Name two people.")
    with home.write() as session:
        person, _ = require(session, person_id), require(session, into_id)
        theirs = select(Picture.sha256).where(Picture.person_id == into_id)
        twice = session.scalars(
            select(Picture).where(Picture.person_id == person_id, Picture.sha256.in_(theirs))
        ).all()
        blobs, ids = [one.blob for one in twice], [one.id for one in twice]
        session.execute(delete(Picture).where(Picture.id.in_(ids)))
        moved = update(Picture).where(Picture.person_id == person_id).values(person_id=into_id)
        session.execute(moved)
        session.delete(person)
        settings.count_change(session)
        details = {"person": person_id, "into": into_id, "dropped": len(blobs)}
        audit.append(session, actor, "person.merge", details)
    home.erase_files(blobs)


def require(session: Session, person_id: int) -> Person:
    """Return a person by id.

    Raises:
        FaceError: If there is none.
    """
    person = session.get(Person, person_id)
    if person is None:
        raise Missing(f"there is no person {person_id}.")
    return person


def require_name(session: Session, name: str) -> Person:
    """Return a person by name.

    Raises:
        FaceError: If there is none, or the name cannot be one.
    """
    person = find(session, name)
    if person is None:
        raise Missing(f"there is no person {clean_name(name)!r}. kdkit face people list has all.")
    return person


def search(
    session: Session, text: str, offset: int, limit: int
) -> tuple[list[tuple[Person, int]], int]:
    """Return people by name with the number of their pictures, and how many there are in all.

    Args:
        session: Of the database.
        text: What the names contain, upper and lower case alike; empty for all.
        offset: How many are passed over.
        limit: At most as many are returned.
    """
    text = unicodedata.normalize("NFC", text).replace("\0", "").strip()
    fits = Person.name.icontains(text, autoescape=True) if text else true()
    pictures = (
        select(func.count())
        .where(Picture.person_id == Person.id)
        .correlate(Person)
        .scalar_subquery()
    )
    chosen = select(Person, pictures).where(fits).order_by(func.lower(Person.name), Person.id)
    total = session.scalar(select(func.count()).select_from(Person).where(fits)) or 0
    found = session.execute(chosen.offset(offset).limit(limit))
    return [(person, count) for person, count in found], total


def count_pictures(session: Session, person_id: int) -> int:
    """Return how many pictures a person has."""
    own = select(func.count()).select_from(Picture).where(Picture.person_id == person_id)
    return session.scalar(own) or 0


def counts(session: Session) -> tuple[int, int]:
    """Return how many people and how many pictures there are."""
    people = session.scalar(select(func.count()).select_from(Person)) or 0
    return people, session.scalar(select(func.count()).select_from(Picture)) or 0


def clean_name(name: str) -> str:
    """Return a name in Unicode's composed form, without spaces around it.

    Raises:
        FaceError: If it is empty, too long, or has control characters.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= _LONGEST or any(unicodedata.category(one)[0] == "C" for one in name):
        raise FaceError(
            f"a person's name must have 1 to {_LONGEST} characters and no control characters, but "
            f"this one has {len(name)}. Correct it."
        )
    return name


def _free(session: Session, name: str) -> str:
    if find(session, name) is not None:
        raise Conflict(f"the name {clean_name(name)!r} is taken. Choose another one, or merge.")
    return clean_name(name)
