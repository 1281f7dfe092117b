"""Gallery of the demonstration: ORL's faces where they are at hand, drawn ones otherwise."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from kd_face import audit, people, pictures, unknown_faces, users
from kd_face.demo.drawn_faces import drawn_face
from kd_face.errors import FaceError
from kd_face.gallery_report import gallery_rows, report
from kd_face.home import Home
from kd_face.pictures import Networks
from kd_face.recognition import Rule, set_rule
from kd_face.spaces import require_active

ORL = "orl_faces"  # a folder below KD_DATA: s1 to s40, ten PGM images each
EXAMPLES = "examples"  # a folder of the installation: images to try recognition with
_DRAWN = ("Ada", "Bo", "Cleo", "Dov", "Ebba", "Finn", "Gita", "Hugo", "Ilse", "Jun")
_DRAWN_PICTURES = 4
_ORL_PEOPLE, _ORL_PICTURES = 20, 4
_FAR = 0.001
_MARGIN = 0.005  # drawn people are nearer to each other than real ones
_DAYS = 7


@dataclass(frozen=True)
class Example:
    """A picture of the gallery.

    Args:
        person: Name of the person.
        name: File name.
        content: The file.
    """

    person: str
    name: str
    content: bytes


def drawn_gallery() -> Iterator[Example]:
    """Yield 4 pictures of each of 10 people who do not exist."""
    for number, person in enumerate(_DRAWN):
        for picture in range(_DRAWN_PICTURES):
            yield Example(person, f"{person.lower()}_{picture + 1}.png", _drawn(number, picture))


def orl_gallery(folder: Path) -> Iterator[Example]:
    """Yield the first 4 pictures of 20 people of the ORL database of faces.

    Args:
        folder: With one folder of PGM images for each person.

    Raises:
        FaceError: If it has none.
    """
    found = sorted(
        (one for one in folder.glob("s*") if one.is_dir()), key=lambda one: (len(one.name), one)
    )
    if not found:
        raise FaceError(f"{folder} must hold folders s1, s2, ..., but has none. Try --drawn.")
    for person in found[:_ORL_PEOPLE]:
        for path in sorted(person.glob("*.pgm"))[:_ORL_PICTURES]:
            yield Example(person.name, path.name, path.read_bytes())


def require_empty(home: Home) -> None:
    """Require an installation without people and users.

    Raises:
        FaceError: If it has some.
    """
    with home.read() as session:
        if people.counts(session)[0] or users.listed(session):
            raise FaceError(
                f"the demonstration fills an empty installation, but {home.folder} has people or "
                "users. Name another folder, or run kdkit face serve."
            )


def add_admin(home: Home, name: str, password: str, actor: str) -> None:
    """Add the one who signs in.

    Args:
        home: The installation.
        name: Of the admin.
        password: Random; it is not stored.
        actor: For the audit log.
    """
    with home.write() as session:
        users.add(session, name, password, "admin", actor)


def fill(home: Home, networks: Networks, examples: Iterator[Example], actor: str) -> Iterator[str]:
    """Enrol pictures, calibrate on them, and keep unknown faces; yield what was done.

    Args:
        home: An installation without people.
        networks: Detector and embedder.
        examples: The gallery; a picture that the quality gate refuses is left out.
        actor: For the audit log.
    """
    accepted = refused = 0
    for one in examples:
        try:
            ready = pictures.prepare(networks, one.content, one.name)
        except FaceError as error:
            refused += 1
            yield f"refused: {error}"
            continue
        with home.write() as session:
            person = people.find(session, one.person) or people.create(session, one.person, actor)
        pictures.add(home, person.id, networks, ready, actor)
        accepted += 1
        if accepted % 10 == 0:
            yield f"{accepted} pictures"
    yield f"{accepted} pictures, {refused} refused"
    with home.read() as session:
        rows, owners, _ = gallery_rows(session, require_active(session, networks.embedder))
    found = report(rows, owners, _FAR)
    with home.write() as session:
        set_rule(session, networks, Rule(found.threshold, _MARGIN))
        audit.append(session, actor, "rule.set", {"threshold": found.threshold})
        unknown_faces.set_days(session, _DAYS, actor)
    yield f"threshold {found.threshold:.4f} for a FAR of {_FAR:g}"


def write_examples(folder: Path) -> None:
    """Write images to try recognition with: known, unknown, and several drawn faces.

    Args:
        folder: Made where it is missing.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known, stranger = _drawn(0, _DRAWN_PICTURES), _drawn(len(_DRAWN) + 1, 0)
    (folder / "ada.png").write_bytes(known)
    (folder / "stranger.png").write_bytes(stranger)
    (folder / "not_a_face.png").write_bytes(_png(Image.new("RGB", (240, 240), (90, 120, 90))))
    group = [drawn_face(number, _DRAWN_PICTURES) for number in (1, 5, len(_DRAWN) + 3)]
    image = Image.new("RGB", (sum(one.shape[1] for one in group), group[0].shape[0]))
    for place, one in enumerate(group):
        image.paste(Image.fromarray(one), (place * one.shape[1], 0))
    (folder / "group.png").write_bytes(_png(image))


def _drawn(person: int, picture: int) -> bytes:
    return _png(Image.fromarray(drawn_face(person, picture)))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
