"""Re-embedding of the gallery by another network: a new space beside the old one, then a switch.

Rows are stored in small transactions, so that a killed run resumes where it was. The old space
stays in use until every picture has a row in the new one, and stays stored for a roll-back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session

from kd_face import audit, settings, spaces
from kd_face.database.models import Embedding, ModelVersion, Picture, UnknownFace, to_bytes
from kd_face.embedders import FaceEmbedder
from kd_face.errors import FaceError
from kd_face.home import Home
from kd_face.images import read_image
from kd_face.pictures import stored_face

_BATCH = 16


def reembed(
    home: Home,
    embedder: FaceEmbedder,
    actor: str,
    switched: Callable[[Session, int], None] | None = None,
) -> Iterator[tuple[int, int]]:
    """Embed all pictures by a network, and use its space once that is complete.

    Yields ``(done, total)`` after each batch that is stored.

    Args:
        home: The installation.
        embedder: The network; where its space is in use already and complete, nothing is done.
        actor: For the audit log.
        switched: Called with the id of the space, in the transaction that begins to use it.

    Raises:
        FaceError: If a blob is missing.
    """
    with home.write() as session:
        model_id = spaces.register(session, embedder, actor)
    while True:
        with home.write() as session:  # in the end: nothing is missing, and nothing comes between
            missing = _missing(session, model_id)
            total = session.scalar(select(func.count()).select_from(Picture)) or 0
            if not missing:
                spaces.activate(session, model_id, actor)
                if switched:
                    switched(session, model_id)
                return
        some = missing[:_BATCH]
        crops = []
        for picture in some:
            pixels = read_image(home.blobs.read(picture.blob), picture.name)
            crops.append(embedder.crop(pixels, stored_face(picture)))
        rows = embedder.embed(crops)
        with home.write() as session:
            known = set(session.scalars(select(Picture.id)))  # some may have been deleted
            for picture, row in zip(some, rows, strict=True):
                if picture.id in known:
                    new = Embedding(picture_id=picture.id, model_id=model_id, vector=to_bytes(row))
                    session.add(new)
            settings.count_change(session)
        yield total - len(missing) + len(some), total


def roll_back(
    home: Home, actor: str, switched: Callable[[Session, int], None] | None = None
) -> int:
    """Use the space before the one in use again; return its id.

    Args:
        home: The installation.
        actor: For the audit log.
        switched: Called with the id of the space, in the transaction that begins to use it.

    Raises:
        FaceError: If there is none, or pictures were added since that have no row in it.
    """
    with home.write() as session:
        before = settings.get(session, spaces.PREVIOUS)
        if before is None:
            raise FaceError("there is no earlier network to go back to.")
        if missing := len(_missing(session, before)):
            raise FaceError(
                f"{missing} pictures were added since and have no row of the earlier network. "
                "Re-embed with it; what is there is not computed again."
            )
        spaces.activate(session, before, actor)
        if switched:
            switched(session, before)
    return int(before)


def forget(home: Home, model_id: int, actor: str) -> None:
    """Delete a space with all its rows, unknown faces and settings.

    Raises:
        FaceError: If it is in use, or there is none.
    """
    with home.write() as session:
        space = session.get(ModelVersion, model_id)
        if space is None or settings.get(session, spaces.ACTIVE) == model_id:
            raise FaceError(f"the network {model_id} is in use, or there is none. It stays.")
        blobs = session.scalars(
            select(UnknownFace.blob).where(UnknownFace.model_id == model_id)
        ).all()
        session.execute(delete(Embedding).where(Embedding.model_id == model_id))
        session.delete(space)
        settings.drop_space(session, model_id)
        if settings.get(session, spaces.PREVIOUS) == model_id:
            settings.put(session, spaces.PREVIOUS, None)
        audit.append(session, actor, "model.delete", {"model": model_id})
    home.erase_files(blobs)


def _missing(session: Session, model_id: int) -> list[Picture]:
    has = exists().where(Embedding.picture_id == Picture.id, Embedding.model_id == model_id)
    return list(session.scalars(select(Picture).where(~has).order_by(Picture.id)))
