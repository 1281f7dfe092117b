"""Latency of networks: milliseconds to cut and embed one face on this machine."""

from __future__ import annotations

import statistics
import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face import settings, spaces
from kd_face.database.models import Picture
from kd_face.embedders import FaceEmbedder
from kd_face.errors import FaceError
from kd_face.home import Home
from kd_face.images import read_image
from kd_face.pictures import stored_face

_KEY = "latency"
_TIMES = 5


def measure_latency(home: Home, embedder: FaceEmbedder, actor: str) -> float:
    """Measure a network on a picture of the gallery, and store the figure.

    Args:
        home: The installation.
        embedder: The network.
        actor: For the audit log, should the network be new.

    Returns:
        Median of 5 runs in milliseconds, after one that does not count. Finding the face is not in
        it, as that is the same for all networks.

    Raises:
        FaceError: If there is no picture.
    """
    with home.read() as session:
        picture = session.scalars(select(Picture).order_by(Picture.id).limit(1)).first()
    if picture is None:
        raise FaceError("there is no picture that a network could be measured on. Import some.")
    pixels, face = read_image(home.blobs.read(picture.blob), picture.name), stored_face(picture)
    times = []
    for _ in range(_TIMES + 1):
        begin = time.perf_counter()
        embedder.embed([embedder.crop(pixels, face)])
        times.append(1000 * (time.perf_counter() - begin))
    found = statistics.median(times[1:])
    with home.write() as session:
        model_id = spaces.register(session, embedder, actor)
        settings.put(session, f"{_KEY}:{model_id}", found)
    return found


def latency_of(session: Session, model_id: int) -> float | None:
    """Return the milliseconds of a network as last measured, or None."""
    found: float | None = settings.get(session, f"{_KEY}:{model_id}")
    return found
