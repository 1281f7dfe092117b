"""Erasure of a person: rows, pixels, embeddings, the kept index, and faces that wait for review."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face import audit, people, settings
from kd_face.database.models import Embedding, Picture, UnknownFace, from_bytes
from kd_face.home import Home
from kd_face.recognition import rule_of_space

_ALIKE = 0.9  # similarity, in a space without a calibrated threshold


@dataclass(frozen=True)
class Erased:
    """What has gone with a person.

    Args:
        pictures: Number of pictures.
        unknown_faces: Number of faces that waited for review.
    """

    pictures: int
    unknown_faces: int


def erase(home: Home, person_id: int, actor: str) -> Erased:
    """Delete a person with all pictures and embeddings, and the unknown faces that look alike.

    The rows go first, in one transaction, then the files; the index of a server follows at its next
    use. Backups keep the person until they expire.

    Args:
        home: The installation.
        person_id: The person.
        actor: For the audit log.

    Raises:
        FaceError: If there is no such person.
    """
    with home.write() as session:
        person = people.require(session, person_id)
        blobs = list(session.scalars(select(Picture.blob).where(Picture.person_id == person_id)))
        alike = unknown_alike(session, person_id)
        for face in alike:
            session.delete(face)
        session.delete(person)
        settings.count_change(session)
        found = Erased(len(blobs), len(alike))
        details = {"person": person_id, "pictures": found.pictures, "unknown": found.unknown_faces}
        audit.append(session, actor, "person.delete", details)
    home.erase_files([*blobs, *(face.blob for face in alike)])
    return found


def unknown_alike(session: Session, person_id: int) -> list[UnknownFace]:
    """Return the unknown faces that would be accepted as a person by one of the pictures.

    They were kept before the person had these pictures, or because two people were equally near.

    Args:
        session: Of the database.
        person_id: The person.
    """
    own = (
        select(Embedding.model_id, Embedding.vector)
        .join(Picture, Picture.id == Embedding.picture_id)
        .where(Picture.person_id == person_id)
    )
    spaces: dict[int, list[bytes]] = {}
    for model_id, vector in session.execute(own):
        spaces.setdefault(model_id, []).append(vector)
    found = []
    for model_id, vectors in spaces.items():
        rule = rule_of_space(session, model_id)
        least = rule.threshold if rule else _ALIKE
        rows = np.stack([from_bytes(one) for one in vectors])
        for face in session.scalars(select(UnknownFace).where(UnknownFace.model_id == model_id)):
            if (rows @ from_bytes(face.vector)).max() >= least:
                found.append(face)
    return found
