"""Networks of an installation: dlib's, or a student by a setting."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import Session

from kd_face import reembed, settings
from kd_face.dlib_networks import DlibDetector, DlibEmbedder
from kd_face.embedders import FaceEmbedder
from kd_face.home import Home
from kd_face.pictures import Networks

STUDENT = "student"  # setting: config and checkpoint; missing or None for dlib's network


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
