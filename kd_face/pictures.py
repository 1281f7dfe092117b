"""Pictures of people: a quality gate, the blob, and the row in the space of the network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_core.checkpoint.atomic import remove_abandoned
from kd_face import audit, people, settings, spaces
from kd_face.database.models import Embedding, Picture, UnknownFace, to_bytes
from kd_face.detection import Face, FaceDetector
from kd_face.embedders import FaceEmbedder
from kd_face.errors import Conflict, FaceError, Missing
from kd_face.home import Home, now
from kd_face.images import Limits, encode_image, read_image
from kd_face.quality import Gate

COPIES = "backup"  # folder of what a backup holds until it is written


class PictureRefused(FaceError):
    """A picture does not pass the quality gate."""


class PictureKnown(Conflict):
    """A picture is there already."""


@dataclass(frozen=True)
class Networks:
    """What turns a picture into a row.

    Args:
        detector: Finds the faces.
        embedder: Embeds them.
        gate: What is accepted as an example of a person.
        limits: What is accepted as an image.
    """

    detector: FaceDetector
    embedder: FaceEmbedder
    gate: Gate = field(default_factory=Gate)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Prepared:
    """A picture that has passed the gate, ready to be stored.

    Args:
        name: File name, shown and never opened.
        sha256: Of the uploaded file.
        jpeg: What is stored.
        face: Its one face.
        row: Its unit row (D,).
    """

    name: str
    sha256: str
    jpeg: bytes
    face: Face
    row: NDArray[Any]


def prepare(networks: Networks, content: bytes, name: str) -> Prepared:
    """Decode, check and embed a picture; nothing is written.

    The face is found in what is stored, so that the row can be computed again from the blob.

    Args:
        networks: Detector, embedder and limits.
        content: The file.
        name: Its name.

    Raises:
        kd_face.images.ImageRefused: If it is no acceptable image.
        PictureRefused: If it does not pass the gate; the message has all reasons.
    """
    jpeg = encode_image(read_image(content, name, networks.limits))
    pixels = read_image(jpeg, name)
    faces = networks.detector.detect(pixels)
    if reasons := networks.gate.reasons(pixels, faces):
        raise PictureRefused(f"{name}: {'; '.join(reasons)}.")
    row = networks.embedder.embed([networks.embedder.crop(pixels, faces[0])])[0]
    return Prepared(_shown(name), hashlib.sha256(content).hexdigest(), jpeg, faces[0], row)


def add(home: Home, person_id: int, networks: Networks, prepared: Prepared, actor: str) -> int:
    """Store a picture of a person; return its id. The blob is on the disk before the row is.

    Raises:
        PictureKnown: If the person has the same file already.
        FaceError: If there is no such person, or the gallery is of another network.
    """
    with written(home, prepared) as blob, home.write() as session:
        return _insert(session, person_id, networks, (prepared, blob), actor)


def add_by_name(
    home: Home, name: str, networks: Networks, prepared: Prepared, actor: str
) -> tuple[int, int]:
    """Store a picture of the person of a name, who is created with it where the name is new.

    Returns:
        Ids of the person and of the picture.

    Raises:
        PictureRefused: If the person has the same file already.
        FaceError: If the name cannot be one, or the gallery is of another network.
    """
    with written(home, prepared) as blob, home.write() as session:
        return insert_by_name(session, name, networks, (prepared, blob), actor)


@contextlib.contextmanager
def written(home: Home, prepared: Prepared) -> Iterator[str]:
    """Write the blob of a picture, and delete it if its row is refused.

    After an error of the database it stays for :func:`sweep`, as the row may have been stored.
    """
    blob = home.blobs.add(prepared.jpeg)
    try:
        yield blob
    except FaceError:
        home.blobs.delete([blob])
        raise


def insert_by_name(
    session: Session, name: str, networks: Networks, stored: tuple[Prepared, str], actor: str
) -> tuple[int, int]:
    """Do what :func:`add_by_name` does, as a part of a transaction.

    Args:
        session: Of a transaction that writes.
        name: Of the person.
        networks: What made the row.
        stored: The picture, and its blob by :func:`written`.
        actor: For the audit log.
    """
    person = people.find(session, name) or people.create(session, name, actor)
    return person.id, _insert(session, person.id, networks, stored, actor)


def is_known(session: Session, person_id: int, content: bytes) -> bool:
    """Return whether a person has the same file already."""
    digest = hashlib.sha256(content).hexdigest()
    chosen = select(Picture.id).where(Picture.person_id == person_id, Picture.sha256 == digest)
    return session.scalars(chosen).first() is not None


def remove(home: Home, picture_id: int, actor: str) -> None:
    """Delete a picture with its blob and embeddings.

    Raises:
        FaceError: If there is none.
    """
    with home.write() as session:
        picture = require(session, picture_id)
        session.delete(picture)
        settings.count_change(session)
        details = {"picture": picture_id, "person": picture.person_id}
        audit.append(session, actor, "picture.delete", details)
    home.erase_files([picture.blob])


def require(session: Session, picture_id: int) -> Picture:
    """Return a picture by id.

    Raises:
        Missing: If there is none.
    """
    picture = session.get(Picture, picture_id)
    if picture is None:
        raise Missing(f"there is no picture {picture_id}.")
    return picture


def of_person(session: Session, person_id: int, offset: int, limit: int) -> list[Picture]:
    """Return pictures of a person, the newest first.

    Args:
        session: Of the database.
        person_id: Whose.
        offset: How many are passed over.
        limit: At most as many are returned.
    """
    own = select(Picture).where(Picture.person_id == person_id).order_by(Picture.id.desc())
    return list(session.scalars(own.offset(offset).limit(limit)))


def sweep(home: Home) -> int:
    """Delete blobs that no row names, left by a killed process; return how many."""
    remove_abandoned(home.folder, COPIES)
    with home.read() as session:
        return home.blobs.sweep(named_blobs(session))


def named_blobs(session: Session) -> list[str]:
    """Return the blobs that rows name."""
    return [*session.scalars(select(Picture.blob)), *session.scalars(select(UnknownFace.blob))]


def stored_face(picture: Picture) -> Face:
    """Return the face that was found in a picture when it was stored."""
    content = json.loads(picture.face)
    return Face(tuple(content["box"]), np.array(content["landmarks"], float), content["score"])


def _shown(name: str) -> str:
    """Return a file's name as every database takes it; Linux's may be bytes that are no text."""
    return "".join("?" if unicodedata.category(one)[0] == "C" else one for one in name)[-255:]


def _insert(
    session: Session,
    person_id: int,
    networks: Networks,
    stored: tuple[Prepared, str],
    actor: str,
) -> int:
    prepared, blob = stored
    people.require(session, person_id)
    spaces.register(session, networks.embedder, actor)
    model_id = spaces.require_active(session, networks.embedder)
    same = select(Picture.id).where(
        Picture.person_id == person_id, Picture.sha256 == prepared.sha256
    )
    if session.scalars(same).first() is not None:
        raise PictureKnown(f"{prepared.name}: this person has the same file already.")
    face = prepared.face
    content = {"box": face.box, "landmarks": face.landmarks.tolist(), "score": face.score}
    picture = Picture(
        person_id=person_id,
        blob=blob,
        sha256=prepared.sha256,
        name=prepared.name,
        face=json.dumps(content),
        created_at=now(),
    )
    session.add(picture)
    session.flush()
    row = to_bytes(prepared.row)
    session.add(Embedding(picture_id=picture.id, model_id=model_id, vector=row))
    settings.count_change(session)
    details = {"picture": picture.id, "person": person_id}
    audit.append(session, actor, "picture.add", details)
    return picture.id
