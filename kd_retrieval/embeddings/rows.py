"""Rows of stored embeddings: ids, labels, roles, paths, and the key of what they were made from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROLES = (0, 1, 2)
_SHOWN = 60  # characters of a part of the key in a message
_AGAIN = "Write it again with kdkit embed --overwrite, or name another file."


@dataclass(frozen=True)
class EmbeddingKey:
    """Key of embeddings: what they depend on. An empty part is unknown, or not asked for.

    Attributes:
        checkpoint: SHA-256 of the weights.
        data: Fingerprint of the dataset: its files, labels, ids and roles.
        transform: The transforms of the images, as text.
        model: SHA-256 of the model's config.
        dtype: ``float32`` or ``float16``, as stored.
    """

    checkpoint: str = ""
    data: str = ""
    transform: str = ""
    model: str = ""
    dtype: str = ""

    def differences(self, expected: EmbeddingKey) -> list[str]:
        """Name the parts that differ from those expected, each with both values."""
        return [
            f"{field.name} (it has {_short(ours)}, expected is {_short(wanted)})"
            for field in fields(self)
            if (wanted := getattr(expected, field.name))
            and (ours := getattr(self, field.name)) != wanted
        ]


@dataclass(frozen=True, kw_only=True)
class EmbeddingRows:
    """Metadata of each row of a table of embeddings.

    Attributes:
        labels: Class of each image, int64 (n,).
        ids: Id of each image, int64 (n,), all different.
        roles: Query, gallery or both, int64 (n,).
        paths: Path of each image below its data root.
        class_names: Name of each class.
        key: What the embeddings were made from.
    """

    labels: NDArray[Any]
    ids: NDArray[Any]
    roles: NDArray[Any]
    paths: tuple[str, ...]
    class_names: tuple[str, ...]
    key: EmbeddingKey

    def __len__(self) -> int:
        return len(self.ids)

    def name(self, row: int) -> str:
        """Name a row for a message."""
        return f"row {row} (id {int(self.ids[row])}, {self.paths[row]})"


@dataclass(frozen=True, kw_only=True)
class Embeddings(EmbeddingRows):
    """Embeddings of a dataset.

    Attributes:
        vectors: float32 or float16 (n, D); of a folder they stay on disk until they are used.
    """

    vectors: NDArray[Any]

    @property
    def dim(self) -> int:
        """Size D of the embeddings."""
        return int(self.vectors.shape[1])


def require_key(
    found: EmbeddingKey, expected: EmbeddingKey, source: str, remedy: str = _AGAIN
) -> None:
    """Require that embeddings were made from what is expected.

    Args:
        found: What they were made from.
        expected: What they must have been made from; empty parts are not compared.
        source: Name of what is compared, for the message.
        remedy: What to do about it, for the message.

    Raises:
        ValueError: Names the parts that differ.
    """
    if parts := found.differences(expected):
        raise ValueError(
            f"{source} is stale: it was made from another {', another '.join(parts)}. {remedy}"
        )


def check_rows(rows: EmbeddingRows, source: str) -> None:
    """Require one label, id, role and path for each row, different ids, known roles and labels.

    Raises:
        ValueError: Names the counts, the id or the row.
    """
    for name in ("ids", "labels", "roles"):
        array = getattr(rows, name)
        if array.dtype != np.int64 or array.ndim != 1:
            raise ValueError(
                f"{name} of {source} must be int64 (n,), but they are {array.dtype} {array.shape}."
            )
    counts = {name: len(getattr(rows, name)) for name in ("ids", "labels", "roles", "paths")}
    if len(set(counts.values())) > 1 or not len(rows):
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"{source} must have one of each for every image, but it has {found}.")
    values, counted = np.unique(rows.ids, return_counts=True)
    if len(values) < len(rows):
        repeated = int(values[counted > 1][0])
        raise ValueError(f"ids of {source} must differ, but {repeated} is there more than once.")
    if not np.isin(rows.roles, _ROLES).all():
        row = int((~np.isin(rows.roles, _ROLES)).argmax())
        raise ValueError(
            f"roles of {source} must be 0 (both), 1 (query) or 2 (gallery), but that of "
            f"{rows.name(row)} is {int(rows.roles[row])}."
        )
    outside = (rows.labels < 0) | (rows.labels >= len(rows.class_names))
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"labels of {source} must lie in 0..{len(rows.class_names) - 1}, but that of "
            f"{rows.name(row)} is {int(rows.labels[row])}."
        )


def _short(value: str) -> str:
    if len(value) == 64 and not set(value) - set("0123456789abcdef"):
        return value[:12]
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...") if value else "none"
