"""Stored embeddings: vectors with ids and labels in a file that says what they were made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_retrieval.embeddings.file import load, new_file, read_key
from kd_retrieval.embeddings.rows import (
    EmbeddingKey,
    EmbeddingRows,
    Embeddings,
    check_rows,
    require_key,
)

__all__ = [
    "EmbeddingKey",
    "Embeddings",
    "EmbeddingRows",
    "read_embeddings",
    "read_key",
    "require_key",
    "write_batches",
    "write_embeddings",
]

_DTYPES = ("float32", "float16")
_CHUNK = 1 << 13  # rows that are looked at together


def write_embeddings(path: str | Path, embeddings: Embeddings) -> None:
    """Write embeddings, whole or not at all.

    Args:
        path: A file ``.npz``, or a folder, from which they are read on demand.
        embeddings: The embeddings; their dtype is stored, and its name becomes part of the key.

    Raises:
        ValueError: If counts or shapes do not fit, a value is not finite, ids repeat, or the
            path holds something else.
    """
    key = EmbeddingKey(**{**asdict(embeddings.key), "dtype": str(embeddings.vectors.dtype)})
    content = {field.name: getattr(embeddings, field.name) for field in fields(EmbeddingRows)}
    rows = EmbeddingRows(**{**content, "key": key})
    if len(embeddings.vectors) != len(rows):
        raise ValueError(
            f"vectors and ids must be of one count, but there are {len(embeddings.vectors)} "
            f"vectors and {len(rows)} ids."
        )
    chunks = range(0, len(rows), _CHUNK)
    write_batches(path, rows, (embeddings.vectors[start : start + _CHUNK] for start in chunks))


def write_batches(path: str | Path, rows: EmbeddingRows, batches: Iterable[NDArray[Any]]) -> None:
    """Write embeddings that come in batches; of a folder only one batch is in memory at a time.

    Args:
        path: A file ``.npz``, or a folder.
        rows: What the rows are; ``rows.key.dtype`` is how vectors are stored.
        batches: Vectors (N, D), in the order of the rows.

    Raises:
        ValueError: As :func:`write_embeddings`.
    """
    check_rows(rows, str(path))
    if rows.key.dtype not in _DTYPES:
        raise ValueError(
            f"embeddings are stored as {' or '.join(_DTYPES)}, but the dtype is "
            f"{rows.key.dtype!r}. Convert the vectors first."
        )
    with new_file(path, rows) as file:
        position = 0
        for batch in batches:
            stored = _stored(np.asarray(batch), rows, position)
            file.put(position, stored)
            position += len(stored)
        if position != len(rows):
            raise ValueError(
                f"every id needs a vector, but there are {position} vectors and {len(rows)} ids."
            )


def read_embeddings(path: str | Path, expected_key: EmbeddingKey | None = None) -> Embeddings:
    """Read embeddings without running code from the file, and check every row.

    Args:
        path: A file ``.npz``, or a folder, whose vectors are mapped into memory.
        expected_key: What they must have been made from; empty parts are not compared.

    Returns:
        The embeddings.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If the file is damaged or stale, counts differ, ids repeat, or a value is not
            finite; names the part of the key or the row.
    """
    embeddings = load(path)
    if expected_key is not None:
        require_key(embeddings.key, expected_key, str(path))
    check_rows(embeddings, str(path))
    _check_vectors(embeddings, str(path))
    return embeddings


def _stored(batch: NDArray[Any], rows: EmbeddingRows, position: int) -> NDArray[Any]:
    if batch.ndim != 2:
        raise ValueError(f"vectors must be (n, D), but they are {batch.shape}.")
    with np.errstate(over="ignore"):  # a value beyond float16 becomes infinite, and is named
        stored = batch.astype(rows.key.dtype, copy=False)
    _require_finite(stored, rows, position, "the vectors")
    return stored


def _check_vectors(embeddings: Embeddings, source: str) -> None:
    vectors = embeddings.vectors
    fits = vectors.ndim == 2 and len(vectors) == len(embeddings) and vectors.shape[1] > 0
    if not fits or str(vectors.dtype) not in _DTYPES:
        raise ValueError(
            f"vectors of {source} must be {' or '.join(_DTYPES)} ({len(embeddings)}, D), one for "
            f"each id, but they are {vectors.dtype} {vectors.shape}."
        )
    for start in range(0, len(vectors), _CHUNK):
        _require_finite(vectors[start : start + _CHUNK], embeddings, start, source)


def _require_finite(vectors: NDArray[Any], rows: EmbeddingRows, start: int, source: str) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1)) + start
    bad = bad[bad < len(rows)]
    if len(bad):
        raise ValueError(
            f"every embedding must be finite, but {source} have NaN or infinity in {len(bad)} "
            f"rows, first in {rows.name(int(bad[0]))}. Check the weights and that image."
        )
