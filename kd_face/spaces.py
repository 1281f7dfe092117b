"""Model versions: the spaces that embeddings belong to, and which of them is in use."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face import audit, settings
from kd_face.database.models import ModelVersion
from kd_face.embedders import FaceEmbedder
from kd_face.errors import Conflict
from kd_face.home import now

ACTIVE, PREVIOUS = "active_model", "previous_model"


def register(session: Session, embedder: FaceEmbedder, actor: str) -> int:
    """Return the id of an embedder's space; it is made where it is missing, and used if none was.

    Args:
        session: Of a transaction that writes.
        embedder: Its name, version and dim count.
        actor: For the audit log.
    """
    found = _find(session, embedder)
    if found is None:
        found = ModelVersion(
            name=embedder.name, version=embedder.version, dim=embedder.dim, created_at=now()
        )
        session.add(found)
        session.flush()
        details = {"model": found.id, "name": found.name, "version": found.version}
        audit.append(session, actor, "model.add", details)
    if settings.get(session, ACTIVE) is None:
        settings.put(session, ACTIVE, found.id)
    return found.id


def require_active(session: Session, embedder: FaceEmbedder) -> int:
    """Return the id of the space in use, which must be the embedder's.

    Raises:
        FaceError: If it is that of another network, or there is none yet.
    """
    active = settings.get(session, ACTIVE)
    if active is None:
        raise Conflict("there is no picture yet, so no network is in use. Import pictures first.")
    found = _find(session, embedder)
    if found is None or found.id != active:
        used = session.get_one(ModelVersion, active)
        raise Conflict(
            f"the gallery is embedded by {used.name} {used.version}, but the network is "
            f"{embedder.name} {embedder.version}. Run: kdkit face reembed"
        )
    return found.id


def activate(session: Session, model_id: int, actor: str) -> None:
    """Use another space; the one before is kept for a roll-back.

    Args:
        session: Of a transaction that writes.
        model_id: The space.
        actor: For the audit log.
    """
    before = settings.get(session, ACTIVE)
    if before == model_id:
        return
    settings.put(session, PREVIOUS, before)
    settings.put(session, ACTIVE, model_id)
    settings.count_change(session)
    audit.append(session, actor, "model.activate", {"model": model_id, "before": before})


def _find(session: Session, embedder: FaceEmbedder) -> ModelVersion | None:
    chosen = select(ModelVersion).where(
        ModelVersion.name == embedder.name, ModelVersion.version == embedder.version
    )
    return session.scalars(chosen).one_or_none()
