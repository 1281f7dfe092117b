"""Networks of an installation: dlib's, or a student by a setting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face import reembed, settings
from kd_face.database.models import ModelVersion
from kd_face.dlib_networks import DlibDetector, DlibEmbedder
from kd_face.embedders import FaceEmbedder
from kd_face.errors import FaceError
from kd_face.home import Home
from kd_face.pictures import Networks

STUDENT = "student"  # setting: config and checkpoint; missing or None for dlib's network
FOLDER = "students"  # of the installation: a folder for each student, with config and checkpoint
_CHECKPOINTS = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Choice:
    """A network that the gallery can be embedded by.

    Args:
        key: By which it is asked for.
        name: For people.
        student: Config and checkpoint; None for dlib's network.
    """

    key: str
    name: str
    student: tuple[str, str] | None


def choices(home: Home) -> list[Choice]:
    """Return the networks that are at hand: dlib's, those used before, those in the folder.

    A folder below ``students`` of the installation counts if it has exactly one ``.py`` and one
    checkpoint. Nobody can name a path: whoever may write there is the operator of the machine.
    """
    found = [Choice("dlib", "dlib's network", None)]
    with home.read() as session:
        for model in session.scalars(select(ModelVersion).order_by(ModelVersion.id)):
            if student := settings.get(session, f"{STUDENT}:{model.id}"):
                name = f"{model.name} {model.version}"
                found.append(Choice(f"model-{model.id}", name, (student[0], student[1])))
    for folder in sorted((home.folder / FOLDER).glob("*/")):
        configs = sorted(folder.glob("*.py"))
        weights = [one for one in sorted(folder.iterdir()) if one.suffix in _CHECKPOINTS]
        if len(configs) == 1 and len(weights) == 1:
            student = (str(configs[0].resolve()), str(weights[0].resolve()))
            found.append(Choice(f"folder-{folder.name}", f"students/{folder.name}", student))
    return found


def require_choice(home: Home, key: str) -> Choice:
    """Return a network by its key.

    Raises:
        FaceError: If it is not at hand.
    """
    for one in choices(home):
        if one.key == key:
            return one
    raise FaceError("this network is not at hand. Load the page again.")


def networks_of(home: Home) -> Networks:
    """Return detector and embedder as the settings say."""
    with home.read() as session:
        student = settings.get(session, STUDENT)
    return Networks(DlibDetector(), embedder_of(student))


def switch(home: Home, student: tuple[str, str] | None, actor: str) -> Iterator[tuple[int, int]]:
    """Re-embed the gallery by another network, and use it; yield ``(done, total)``.

    Args:
        home: The installation.
        student: Config and checkpoint; None for dlib's network.
        actor: For the audit log.
    """
    embedder = embedder_of(student)

    def remember(session: Session, model_id: int) -> None:
        settings.put(session, STUDENT, student)
        settings.put(session, f"{STUDENT}:{model_id}", student)

    yield from reembed.reembed(home, embedder, actor, remember)


def switch_back(home: Home, actor: str) -> None:
    """Use the network before the one in use again.

    Raises:
        FaceError: If there is none, or its space is not complete.
    """

    def remember(session: Session, model_id: int) -> None:
        settings.put(session, STUDENT, settings.get(session, f"{STUDENT}:{model_id}"))

    reembed.roll_back(home, actor, remember)


def embedder_of(student: tuple[str, str] | None) -> FaceEmbedder:
    """Return a student's embedder, or dlib's.

    Args:
        student: Config and checkpoint.
    """
    if student is None:
        return DlibEmbedder()
    from kd_face.student import StudentEmbedder  # needs mmengine, which dlib's network does not

    return StudentEmbedder(*student)
