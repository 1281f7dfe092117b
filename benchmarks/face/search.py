"""Latency of the face gallery's index: built, searched, and after a picture came or went."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select

from kd_face import pictures, settings, spaces
from kd_face.database.models import Embedding, Person, Picture, to_bytes
from kd_face.home import Home, init_home, now
from kd_face.index import GalleryIndex

_DIM = 128
_EACH = 10  # pictures of a person
_QUERIES = 50
_CHANGES = 5
_CHUNK = 10_000


class _Drawn:
    """Network whose rows are drawn by chance."""

    name, version, dim, threshold = "drawn", "1", _DIM, 0.5


def measure_search(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Measure galleries of drawn rows of 128 numbers in SQLite, 10 of each person.

    Args:
        sizes: Pictures of each gallery.

    Returns:
        For each size, in milliseconds: ``build`` of the index from the database, median of 50
        searches for 10 neighbors, and median of 5 first searches after a deletion.
    """
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="kd_face_search_") as place:
            home = init_home(Path(place) / "home")
            _fill(home, size)
            found.append({"rows": size, **_measure(home)})
    return found


def describe(report: Sequence[dict[str, Any]]) -> str:
    """Return the figures as a table of Markdown."""
    lines = ["| pictures | built, s | search, ms | first search after a deletion, ms |"]
    lines += ["|---|---|---|---|"]
    for one in report:
        built = one["build"] / 1000
        lines.append(
            f"| {one['rows']:,} | {built:.2f} | {one['search']:.2f} | {one['delete']:.1f} |"
        )
    return "\n".join(lines)


def _fill(home: Home, size: int) -> None:
    rng = np.random.default_rng(0)
    with home.write() as session:
        model = spaces.register(session, _Drawn(), "benchmark")  # type: ignore[arg-type]
        settings.put(session, spaces.ACTIVE, model)
        people = [
            {"id": one + 1, "name": str(one), "created_at": now()}
            for one in range(-(-size // _EACH))
        ]
        session.execute(insert(Person), people)
        for begin in range(0, size, _CHUNK):
            ids = range(begin + 1, min(begin + _CHUNK, size) + 1)
            session.execute(insert(Picture), [_picture(one) for one in ids])
            rows = rng.normal(size=(len(ids), _DIM)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            embedded = zip(ids, rows, strict=True)
            session.execute(
                insert(Embedding),
                [
                    {"picture_id": one, "model_id": model, "vector": to_bytes(row)}
                    for one, row in embedded
                ],
            )
        settings.count_change(session)


def _picture(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "person_id": (number - 1) // _EACH + 1,
        "blob": f"{number:032x}",
        "sha256": f"{number:064x}",
        "name": "drawn",
        "face": "{}",
        "created_at": now(),
    }


def _measure(home: Home) -> dict[str, float]:
    queries = np.random.default_rng(1).normal(size=(_QUERIES, _DIM)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    index = GalleryIndex(home)
    with home.read() as session:
        build = _ms(index.refresh, session)
        search = [_ms(index.search, session, row, 10) for row in queries]
        ids = session.scalars(select(Picture.id).order_by(Picture.id).limit(_CHANGES)).all()
    after = []
    for one, row in zip(ids, queries, strict=False):
        pictures.remove(home, one, "benchmark")
        with home.read() as session:
            after.append(_ms(index.search, session, row, 10))
    return {
        "build": build,
        "search": statistics.median(search),
        "delete": statistics.median(after),
    }


def _ms(work: Callable[..., object], *given: Any) -> float:
    begin = time.perf_counter()
    work(*given)
    return 1000 * (time.perf_counter() - begin)
