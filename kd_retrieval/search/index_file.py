"""Index files: FAISS's own, with a checksum and a record of their origin at the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kd_core.checkpoint.atomic import put_in_place, temporary_folder
from kd_retrieval.embeddings.rows import EmbeddingKey, Embeddings, require_key
from kd_retrieval.search.index import (
    KINDS,
    METRICS,
    QUERY_ONLY,
    SearchIndex,
    faiss_metric,
    faiss_module,
    set_probes,
)

_BLOCK = 1 << 20  # bytes that are read at once
_MARK = b"kdkit index 1\n"  # ends a file, after its settings as JSON and their length in 8 bytes
_TAIL = len(_MARK) + 8
_REBUILD = "Remove it, so that it is built again, or name another file."


def save_index(path: str | Path, index: SearchIndex) -> None:
    """Write an index, whole or not at all.

    The file is FAISS's own, followed by its SHA-256 and what the index was made from;
    ``faiss.read_index`` reads it too.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    settings = dict(kind=index.kind, metric=index.metric, key=asdict(index.key))
    with temporary_folder(path) as place:
        with _as_errors(path):
            faiss_module().write_index(index.index, str(place / "index"))
        size = (place / "index").stat().st_size
        text = json.dumps(settings | dict(sha256=_sha256(place / "index", size))).encode()
        with (place / "index").open("ab") as file:
            file.write(text + len(text).to_bytes(8, "little") + _MARK)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(place / "index", path)


def load_index(path: str | Path, embeddings: Embeddings, probes: int | None = None) -> SearchIndex:
    """Read an index for embeddings.

    Args:
        path: What ``save_index`` wrote.
        embeddings: The embeddings that it was built over.
        probes: As ``build_index`` has it.

    Raises:
        ImportError: If faiss is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or something else, or was built over other embeddings; names
            what differs.
    """
    path = Path(path)
    try:
        settings, size = _settings(path)
        kind, metric, key = settings["kind"], settings["metric"], EmbeddingKey(**settings["key"])
        known = kind in KINDS and metric in METRICS
        if not known or not all(isinstance(part, str) for part in settings["key"].values()):
            raise ValueError(f"its settings are {settings}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not an index of kdkit search, or is damaged ({error}). Name another file."
        ) from error
    require_key(key, embeddings.key, f"the index {path}", _REBUILD)
    if settings.get("sha256", found := _sha256(path, size)) != found:  # older files have none
        raise ValueError(f"{path} cannot be read as an index: its content is damaged. {_REBUILD}")
    index = _read(path, kind, metric)
    rows = np.flatnonzero(embeddings.roles != QUERY_ONLY)
    if index.ntotal != len(rows) or index.d != embeddings.dim:
        raise ValueError(
            f"the index must hold the {len(rows)} x {embeddings.dim} vectors of the gallery, but "
            f"{path} holds {index.ntotal} x {index.d}. {_REBUILD}"
        )
    set_probes(index, kind, probes)
    return SearchIndex(index, kind, metric, key, rows, embeddings.ids[rows])


@contextlib.contextmanager
def _as_errors(path: Path) -> Iterator[None]:
    """Turn what faiss raises for a file into an error of ours."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"{path} cannot be read or written as an index: {error}") from error


def _read(path: Path, kind: str, metric: str) -> Any:
    faiss = faiss_module()
    with _as_errors(path):
        index = faiss.read_index(str(path))
    wanted = dict(flat=faiss.IndexFlat, ivf=faiss.IndexIVFFlat, hnsw=faiss.IndexHNSWFlat)[kind]
    if not isinstance(index, wanted) or index.metric_type != faiss_metric(metric):
        raise ValueError(
            f"{path} must hold a {wanted.__name__} for {metric}, but holds a "
            f"{type(index).__name__} or another metric. {_REBUILD}"
        )
    return index


def _sha256(path: Path, size: int) -> str:
    """Return the SHA-256 of the beginning of a file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(size, _BLOCK))):
            total.update(block)
            size -= len(block)
    return total.hexdigest()


def _settings(path: Path) -> tuple[Any, int]:
    """Read the settings at the end of an index file, and the length of what comes before."""
    if path.is_dir():
        raise ValueError("it is a folder")
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        tail = file.read()
        if not tail.endswith(_MARK):
            raise ValueError("its end is missing")
        length = int.from_bytes(tail[:8], "little")
        if length > size - _TAIL:
            raise ValueError("its beginning is missing")
        file.seek(size - _TAIL - length)
        return json.loads(file.read(length)), size - _TAIL - length
