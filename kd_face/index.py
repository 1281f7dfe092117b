"""Index of the gallery: a FAISS cache of the database, brought up to date before every search.

It holds the row of every picture in the space in use, under the picture's id. The database counts
every change of the gallery; where the count differs, rows are added and removed, or all are read
anew. Up to 200,000 rows the search is exact; beyond that, rows are in inverted lists (IVF).
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_face import settings
from kd_face.database.models import Embedding, ModelVersion, from_bytes
from kd_face.home import INDEX, Home
from kd_face.private_files import write_private

EXACT = 200_000  # rows up to which the search is exact
_PROBES = 32
_EACH = 39  # rows of a list that FAISS wants at least
_AT_ONCE = 10_000  # rows that are read together


class GalleryIndex:
    """Nearest pictures of the gallery by inner product.

    Args:
        home: The installation; the index is kept in its folder as ``index.faiss`` with
            ``index.json``: count, number of the change, space and SHA-256.
        exact: Rows up to which the search is exact.
    """

    def __init__(self, home: Home, exact: int = EXACT):
        self._home, self._exact = home, exact
        self._index: Any = None
        self._ids: set[int] = set()
        self._state = (-1, -1)  # number of the change, space
        self._lock = threading.Lock()
        self._load()

    def __len__(self) -> int:
        return len(self._ids)

    def search(self, session: Session, row: NDArray[Any], k: int) -> list[tuple[int, float]]:
        """Return ids and similarities of the k nearest pictures, the nearest first.

        Args:
            session: Whose view of the gallery is searched.
            row: A unit row (D,) of the space in use.
            k: At most as many are returned.

        Raises:
            ValueError: If the row has another length.
        """
        session.connection()  # at first, as nobody may wait for one within the lock
        with self._lock:
            self._refresh(session)
            if not self._ids:
                return []
            if row.shape != (self._index.d,):
                raise ValueError(
                    f"the row must have {self._index.d} numbers, but it has {row.shape}. Embed it "
                    "with the network of the gallery."
                )
            found, ids = self._index.search(row[None].astype(np.float32), min(k, len(self)))
        pairs = zip(ids[0].tolist(), found[0].tolist(), strict=True)
        return [(one, value) for one, value in pairs if one >= 0]

    def refresh(self, session: Session) -> None:
        """Bring the index to what the database holds, if that has changed."""
        session.connection()
        with self._lock:
            self._refresh(session)

    def _refresh(self, session: Session) -> None:
        state = settings.get(session, settings.CHANGE, 0), settings.get(session, "active_model", -1)
        if state == self._state:
            return
        rows = select(Embedding.picture_id).where(Embedding.model_id == state[1])
        there = set(session.scalars(rows))
        new, gone = there - self._ids, self._ids - there
        if self._must_rebuild(state[1], len(there), len(new), len(gone)):
            self._rebuild(session)
            return
        if gone:
            self._index.remove_ids(np.fromiter(gone, np.int64, len(gone)))
        self._add(session, state[1], sorted(new))
        self._ids, self._state = there, state

    def rebuild(self, session: Session) -> None:
        """Make the index anew from the database."""
        session.connection()
        with self._lock:
            self._rebuild(session)

    def _rebuild(self, session: Session) -> None:
        model = settings.get(session, "active_model", -1)
        self._state = settings.get(session, settings.CHANGE, 0), model
        space = session.get(ModelVersion, model)
        ids = session.scalars(
            select(Embedding.picture_id)
            .where(Embedding.model_id == model)
            .order_by(Embedding.picture_id)
        ).all()
        self._ids, self._index = set(), None
        if space is None:
            return
        self._index = self._empty(session, space, ids)
        self._add(session, model, ids)
        self._ids = set(ids)

    def save(self) -> None:
        """Keep the index in the home's folder, without what the database no longer has."""
        with self._home.read() as session:
            self.refresh(session)
        with self._lock:
            self._save()
            with self._home.read() as session:
                if settings.get(session, settings.CHANGE, 0) != self._state[0]:
                    self._home.drop_index()  # what was deleted meanwhile is still in it

    def _save(self) -> None:
        if self._index is None:
            return
        content = faiss.serialize_index(self._index).tobytes()
        about = {
            "count": len(self),
            "change": self._state[0],
            "model": self._state[1],
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        write_private(self._file(), content)
        write_private(self._file().with_suffix(".json"), json.dumps(about).encode())

    def _file(self) -> Path:
        return self._home.folder / INDEX[1]

    def _load(self) -> None:
        """Read the kept index; a file that does not fit is left unread and all is built anew."""
        try:
            about = json.loads(self._file().with_suffix(".json").read_bytes())
            content = self._file().read_bytes()
            count, state = about["count"], (about["change"], about["model"])
            is_whole = hashlib.sha256(content).hexdigest() == about["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        if not is_whole:
            return
        index: Any = faiss.deserialize_index(np.frombuffer(content, np.uint8))
        ids = _ids_of(index)
        if len(ids) == count:
            self._index, self._ids, self._state = index, set(ids), state

    def _must_rebuild(self, model: int, count: int, new: int, gone: int) -> bool:
        if self._index is None or model != self._state[1]:
            return True
        is_other = isinstance(self._index, faiss.IndexIVF) != (count > self._exact)
        return is_other or new + gone > max(count // 2, 1000)

    def _empty(self, session: Session, space: ModelVersion, ids: Any) -> Any:
        if len(ids) <= self._exact:
            return faiss.IndexIDMap2(faiss.IndexFlatIP(space.dim))
        lists = max(1, min(4 * math.isqrt(len(ids)), len(ids) // _EACH))
        chosen = np.random.default_rng(0).permutation(len(ids))[: 256 * lists]
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(space.dim), space.dim, lists, faiss.METRIC_INNER_PRODUCT
        )
        index.train(self._rows(session, space.id, [ids[one] for one in chosen])[1])
        index.nprobe = min(_PROBES, lists)
        return index  # which keeps ids by itself: a map of ids would count anew after a deletion

    def _add(self, session: Session, model: int, ids: Any) -> None:
        for begin in range(0, len(ids), _AT_ONCE):
            found, rows = self._rows(session, model, ids[begin : begin + _AT_ONCE])
            if len(found):
                self._index.add_with_ids(rows, found)

    def _rows(self, session: Session, model: int, ids: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        pairs: list[tuple[int, bytes]] = []
        for begin in range(0, len(ids), 500):  # databases bound the length of a statement
            some = ids[begin : begin + 500]
            chosen = select(Embedding.picture_id, Embedding.vector).where(
                Embedding.model_id == model, Embedding.picture_id.in_(some)
            )
            pairs += [(one, vector) for one, vector in session.execute(chosen)]
        rows = np.array([from_bytes(vector) for _, vector in pairs], np.float32)
        return np.array([one for one, _ in pairs], np.int64), rows


def _ids_of(index: Any) -> list[int]:
    if not isinstance(index, faiss.IndexIVF):
        return faiss.vector_to_array(index.id_map).tolist()  # type: ignore[no-any-return]
    lists: Any = index.invlists
    sizes = [lists.list_size(one) for one in range(index.nlist)]
    parts = [faiss.rev_swig_ptr(lists.get_ids(n), size) for n, size in enumerate(sizes) if size]
    return np.concatenate(parts).tolist() if parts else []
