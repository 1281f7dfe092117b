"""Recognition: identify the faces of an image, or verify that one is a certain person.

A face is a person only if its most similar picture reaches the threshold and is more similar than
every picture of the second person by the margin. Otherwise it is unknown, and the reason says
which of the two was missed. There is no liveness detection: a printed photograph is recognized
like a face.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face import people, settings, spaces
from kd_face.database.models import Embedding, Person, Picture, from_bytes
from kd_face.detection import Face
from kd_face.errors import FaceError
from kd_face.home import Home
from kd_face.images import read_image
from kd_face.index import GalleryIndex
from kd_face.pictures import Networks

MARGIN = 0.02  # default; a round number, not fitted
_STEP = 0.05
_FIRST = 16  # neighbors; more are asked for until two people are among them


@dataclass(frozen=True)
class Recognized:
    """A face and who it is.

    Args:
        face: Where it is.
        person: The person's id and name; None if it is unknown.
        nearest: The most similar person, also of an unknown face; None in an empty gallery.
        similarity: Of the most similar picture, -1 to 1.
        margin: By how much that is more than the second person's; None if there is none.
        picture_id: The most similar picture.
        reason: Why, in words.
        row: Of the face (D,).
    """

    face: Face
    person: tuple[int, str] | None
    nearest: tuple[int, str] | None
    similarity: float
    margin: float | None
    picture_id: int | None
    reason: str
    row: NDArray[Any] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Rule:
    """When a face is a person.

    Args:
        threshold: Least similarity.
        margin: Least lead over the second person.
    """

    threshold: float
    margin: float = MARGIN

    def decide(self, similarity: float, margin: float | None) -> tuple[bool, str]:
        """Return whether a face is the nearest person, and why."""
        if similarity < self.threshold:
            return False, f"similarity {similarity:.3f} is below the threshold {self.threshold:.3f}"
        if margin is not None and margin < self.margin:
            return False, f"the second person is nearer than the margin: {margin:.3f}"
        return True, f"similarity {similarity:.3f}, threshold {self.threshold:.3f}"


def rule_of(session: Session, networks: Networks) -> Rule:
    """Return the rule in use: the calibrated one, or the network's own threshold."""
    spaces.require_active(session, networks.embedder)
    return calibrated_rule(session) or Rule(networks.embedder.threshold)


def calibrated_rule(session: Session) -> Rule | None:
    """Return the rule that was set for the space in use, or None where none was."""
    return rule_of_space(session, settings.get(session, spaces.ACTIVE, -1))


def rule_of_space(session: Session, model_id: int) -> Rule | None:
    """Return the rule that was set for a space, or None where none was."""
    content = settings.get(session, f"rule:{model_id}")
    return Rule(**content) if content else None


def set_rule(session: Session, networks: Networks, rule: Rule) -> None:
    """Use another rule in the space of a network, in a transaction that writes."""
    model = spaces.require_active(session, networks.embedder)
    content = {"threshold": rule.threshold, "margin": rule.margin}
    settings.put(session, f"rule:{model}", content)


def identify(
    home: Home, index: GalleryIndex, networks: Networks, content: bytes, name: str
) -> list[Recognized]:
    """Return who is in an image, the largest face first; empty if no face was found.

    Args:
        home: The installation.
        index: Of its gallery.
        networks: Detector and embedder.
        content: The file.
        name: Its name, for messages.

    Raises:
        kd_face.images.ImageRefused: If it is no acceptable image.
        FaceError: If the gallery is of another network, or there is none.
    """
    return identify_pixels(home, index, networks, read_image(content, name, networks.limits))


def identify_pixels(
    home: Home, index: GalleryIndex, networks: Networks, pixels: NDArray[Any]
) -> list[Recognized]:
    """Return who is in a decoded image, as :func:`identify` does.

    Args:
        home: The installation.
        index: Of its gallery.
        networks: Detector and embedder.
        pixels: RGB (H, W, 3), uint8.

    Raises:
        FaceError: If the gallery is of another network, or there is none.
    """
    faces = networks.detector.detect(pixels)
    rows = networks.embedder.embed([networks.embedder.crop(pixels, face) for face in faces])
    with home.read() as session:
        rule = rule_of(session, networks)
        return [
            _recognize(session, index, rule, face, row)
            for face, row in zip(faces, rows, strict=True)
        ]


def verify(
    home: Home, networks: Networks, person_id: int, content: bytes, name: str
) -> tuple[bool, float]:
    """Return whether the one face of an image is a certain person, and the best similarity.

    Raises:
        kd_face.images.ImageRefused: If it is no acceptable image.
        FaceError: If it does not have exactly one face, or the person has no picture.
    """
    pixels = read_image(content, name, networks.limits)
    faces = networks.detector.detect(pixels)
    if len(faces) != 1:
        raise FaceError(f"{name} must have exactly one face, but it has {len(faces)}.")
    row = networks.embedder.embed([networks.embedder.crop(pixels, faces[0])])[0]
    with home.read() as session:
        rule = rule_of(session, networks)
        model = spaces.require_active(session, networks.embedder)
        people.require(session, person_id)
        vectors = session.scalars(
            select(Embedding.vector)
            .join(Picture, Picture.id == Embedding.picture_id)
            .where(Picture.person_id == person_id, Embedding.model_id == model)
        ).all()
    if not vectors:
        raise FaceError(f"person {person_id} has no picture. Add one.")
    best = max(float(from_bytes(vector) @ row) for vector in vectors)
    return best >= rule.threshold, best


def quantized(similarity: float) -> float:
    """Return a similarity in steps of 0.05, for those who need no more.

    Fine scores would let a caller climb, query by query, towards an image that passes.
    """
    return round(round(similarity / _STEP) * _STEP, 2)


@dataclass(frozen=True)
class Nearest:
    """The person that a row is most similar to.

    Args:
        person: The person's id and name.
        similarity: Of the most similar picture, -1 to 1.
        margin: By how much that is more than the second person's; None if there is none.
        picture_id: The most similar picture.
    """

    person: tuple[int, str]
    similarity: float
    margin: float | None
    picture_id: int


def nearest_person(session: Session, index: GalleryIndex, row: NDArray[Any]) -> Nearest | None:
    """Return the nearest person of a row, or None in an empty gallery.

    Args:
        session: Of the database.
        index: Of its gallery.
        row: A unit row (D,) in the space in use.
    """
    found, owners = _nearest_people(session, index, row)
    if not found:
        return None
    picture_id, similarity = found[0]
    person = owners[picture_id]
    others = [value for one, value in found if owners[one] != person]
    return Nearest(person, similarity, similarity - others[0] if others else None, picture_id)


def _recognize(
    session: Session, index: GalleryIndex, rule: Rule, face: Face, row: NDArray[Any]
) -> Recognized:
    near = nearest_person(session, index, row)
    if near is None:
        return Recognized(face, None, None, -1.0, None, None, "the gallery is empty", row)
    is_person, reason = rule.decide(near.similarity, near.margin)
    person = near.person if is_person else None
    return Recognized(
        face, person, near.person, near.similarity, near.margin, near.picture_id, reason, row
    )


def _nearest_people(
    session: Session, index: GalleryIndex, row: NDArray[Any]
) -> tuple[list[tuple[int, float]], dict[int, tuple[int, str]]]:
    """Return neighbors with at least two people among them, if the gallery has two."""
    k, owners = _FIRST, dict[int, tuple[int, str]]()
    while True:
        found = index.search(session, row, k)
        owners.update(_owners(session, [one for one, _ in found if one not in owners]))
        found = [(one, value) for one, value in found if one in owners]
        if len({owners[one] for one, _ in found}) > 1 or k >= len(index):
            return found, owners
        k *= 4


def _owners(session: Session, ids: list[int]) -> dict[int, tuple[int, str]]:
    owners = {}
    for begin in range(0, len(ids), 500):
        chosen = (
            select(Picture.id, Person.id, Person.name)
            .join(Person, Person.id == Picture.person_id)
            .where(Picture.id.in_(ids[begin : begin + 500]))
        )
        owners.update({one: (person, name) for one, person, name in session.execute(chosen)})
    return owners
