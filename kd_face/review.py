"""Review of faces that were not recognized: keep them, give them to a person, or dismiss them.

What is kept is the face with some of its surroundings, so that it can become a picture of a person
and has to pass the same quality gate. The same face is not kept again within ten minutes, as a
camera sees it in every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from kd_face import audit, people, pictures, settings, spaces, unknown_faces
from kd_face.database.models import UnknownFace, from_bytes
from kd_face.detection import Face
from kd_face.errors import Missing
from kd_face.home import Home, now
from kd_face.pictures import Networks
from kd_face.recognition import Recognized

_AROUND = 0.6  # of the box's sides, added on each side
_AGAIN = timedelta(minutes=10)
_COMPARED = 200  # of the newest faces
_SAME = 0.97  # similarity of two frames of one face; the network's own threshold if it is lower


def keep_unknown(
    home: Home, networks: Networks, pixels: NDArray[Any], found: Sequence[Recognized]
) -> int:
    """Keep the faces that are nobody, if the setting wants that; return how many.

    Args:
        home: The installation.
        networks: Whose embedder made the rows.
        pixels: RGB (H, W, 3), uint8, that they were found in.
        found: What was recognized.
    """
    unknown = [one for one in found if one.person is None]
    with home.read() as session:
        if not unknown or not settings.get(session, unknown_faces.DAYS, 0):
            return 0
        recent = _recent_rows(session, spaces.require_active(session, networks.embedder))
    count, same = 0, min(_SAME, networks.embedder.threshold)
    for one in unknown:
        if any(float(row @ one.row) >= same for row in recent):
            continue
        crop = surroundings(pixels, one.face, _AROUND)
        count += unknown_faces.keep(home, networks.embedder, crop, one.row) is not None
        recent.append(one.row)
    return count


def waiting(session: Session, offset: int, limit: int) -> tuple[list[UnknownFace], int]:
    """Return the faces that wait, the newest first, and how many there are in all.

    Args:
        session: Of the database.
        offset: How many are passed over.
        limit: At most as many are returned.
    """
    there = UnknownFace.expires_at > now()
    chosen = select(UnknownFace).where(there).order_by(UnknownFace.id.desc())
    total = session.scalar(select(func.count()).select_from(UnknownFace).where(there)) or 0
    return list(session.scalars(chosen.offset(offset).limit(limit))), total


def require(session: Session, face_id: int) -> UnknownFace:
    """Return a face by id.

    Raises:
        FaceError: If there is none, or its time is over.
    """
    face = session.get(UnknownFace, face_id)
    if face is None or face.expires_at <= now():
        raise Missing(f"there is no unknown face {face_id}: it is reviewed, or has expired.")
    return face


def assign(home: Home, networks: Networks, face_id: int, name: str, actor: str) -> int:
    """Make a face a picture of a person, who is created where the name is new.

    The picture comes and the face leaves the queue in one transaction.

    Args:
        home: The installation.
        networks: Whose gate the face has to pass.
        face_id: The face.
        name: Of the person.
        actor: For the audit log.

    Returns:
        Id of the person.

    Raises:
        kd_face.pictures.PictureRefused: If it does not pass the gate; it stays in the queue.
        FaceError: If there is no such face, or the name cannot be one.
    """
    with home.read() as session:
        face = require(session, face_id)
    name = people.clean_name(name)
    ready = pictures.prepare(networks, home.blobs.read(face.blob), f"review {face_id}.jpg")
    with pictures.written(home, ready) as blob, home.write() as session:
        face = require(session, face_id)
        person, _ = pictures.insert_by_name(session, name, networks, (ready, blob), actor)
        session.delete(face)
        audit.append(session, actor, "unknown.assign", {"face": face_id, "person": person})
    home.erase_files([face.blob])
    return person


def dismiss(home: Home, face_id: int, actor: str) -> None:
    """Delete a face with its pixels.

    Raises:
        FaceError: If there is no such face.
    """
    with home.write() as session:
        face = require(session, face_id)
        session.delete(face)
        audit.append(session, actor, "unknown.dismiss", {"face": face_id})
    home.erase_files([face.blob])


def surroundings(pixels: NDArray[Any], face: Face, around: float) -> NDArray[Any]:
    """Return a face and what is around it, RGB (h, w, 3).

    Args:
        pixels: RGB (H, W, 3), uint8.
        face: A face of this image.
        around: Share of the box's sides that is added on each side.
    """
    left, top, right, bottom = face.box
    x, y = (right - left) * around, (bottom - top) * around
    height, width = pixels.shape[:2]
    return pixels[
        max(0, round(top - y)) : min(height, round(bottom + y)),
        max(0, round(left - x)) : min(width, round(right + x)),
    ]


def _recent_rows(session: Session, model_id: int) -> list[NDArray[Any]]:
    chosen = (
        select(UnknownFace.vector)
        .where(UnknownFace.model_id == model_id, UnknownFace.seen_at >= now() - _AGAIN)
        .order_by(UnknownFace.id.desc())
        .limit(_COMPARED)
    )
    return [from_bytes(one) for one in session.scalars(chosen)]
