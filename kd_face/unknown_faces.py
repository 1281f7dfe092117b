"""Unknown faces: kept for review, if the operator wants that, and deleted when they expire.

By default nothing is kept: the setting ``unknown_days`` is 0 until somebody sets it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face import audit, settings, spaces
from kd_face.database.models import UnknownFace, to_bytes
from kd_face.embedders import FaceEmbedder
from kd_face.errors import FaceError
from kd_face.home import Home, now
from kd_face.images import encode_image

DAYS = "unknown_days"
MOST_DAYS = 365


def set_days(session: Session, days: int, actor: str) -> None:
    """Set for how many days faces that come from now on are kept; 0 keeps none.

    Raises:
        FaceError: If it is below 0 or more than 365.
    """
    if not 0 <= days <= MOST_DAYS:
        raise FaceError(
            f"unknown faces are kept for 0 to {MOST_DAYS} days, but {days} were asked for."
        )
    settings.put(session, DAYS, days)
    audit.append(session, actor, "unknown.days", {"days": days})


def keep(home: Home, embedder: FaceEmbedder, crop: NDArray[Any], row: NDArray[Any]) -> int | None:
    """Keep an unknown face; return its id, or None where nothing is kept.

    Args:
        home: The installation.
        embedder: The network, whose space must be in use.
        crop: The face alone, RGB (H, W, 3), uint8.
        row: Its unit row (D,).
    """
    with home.read() as session:
        days = settings.get(session, DAYS, 0)
    if not days:
        return None
    blob = home.blobs.add(encode_image(crop))
    try:
        with home.write() as session:
            face = UnknownFace(
                blob=blob,
                model_id=spaces.require_active(session, embedder),
                vector=to_bytes(row),
                seen_at=now(),
                expires_at=now() + timedelta(days=days),
            )
            session.add(face)
            session.flush()
            return face.id
    except FaceError:
        home.blobs.delete([blob])
        raise


def expire(home: Home) -> int:
    """Delete the faces whose time is over, rows first; return how many."""
    with home.write() as session:
        over = session.scalars(select(UnknownFace).where(UnknownFace.expires_at <= now())).all()
        for face in over:
            session.delete(face)
    if over:
        home.erase_files([face.blob for face in over])
    return len(over)
