"""Stored gallery: embeddings of an earlier run, to be searched by images of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd_retrieval.datasets import QUERY
from kd_retrieval.embeddings.stored import Embeddings, read_embeddings

_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Side:
    """Queries or gallery.

    Attributes:
        vectors: Embeddings float32 (N, D).
        labels: Class of each, int64 (N,), or a list of classes for each.
        ids: Id of each image, int64 (N,).
        roles: Query, gallery or both, int64 (N,).
    """

    vectors: Tensor
    labels: Any
    ids: NDArray[Any]
    roles: NDArray[Any]

    def select(self, mask: NDArray[Any]) -> Side:
        """Take the rows where a mask (N,) holds."""
        rows, labels = np.flatnonzero(mask), self.labels
        kept = labels[rows] if isinstance(labels, np.ndarray) else [labels[row] for row in rows]
        return Side(self.vectors[torch.from_numpy(rows)], kept, self.ids[rows], self.roles[rows])


def read_gallery(path: str, queries: Side, class_names: Sequence[str] | None = None) -> Side:
    """Read the gallery in which queries are searched; rows that are queries only are left out.

    Args:
        path: What ``kdkit embed`` wrote.
        queries: The queries.
        class_names: Names of the queries' classes: those of the gallery are found by name. None
            takes the gallery's numbers as they are.

    Returns:
        The gallery, with the queries' numbers of classes.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If the file is damaged, sizes differ, no class is in both, or an id names
            an image of another class.
    """
    stored = read_embeddings(path)
    vectors = torch.from_numpy(np.array(stored.vectors, dtype=np.float32))
    if vectors.shape[1] != queries.vectors.shape[1]:
        raise ValueError(
            "queries and gallery must have embeddings of one size, but the model's have "
            f"{queries.vectors.shape[1]} numbers and those of {path} {vectors.shape[1]}. Set the "
            "student's dim to the latter, and train it under a term that aligns the two spaces."
        )
    labels = stored.labels if class_names is None else _renumbered(stored, class_names, path)
    gallery = Side(vectors, labels, stored.ids, stored.roles).select(stored.roles != QUERY)
    _require_same_images(queries, gallery, path)
    return gallery


def _renumbered(stored: Embeddings, class_names: Sequence[str], path: str) -> NDArray[Any]:
    """Number the gallery's classes as the queries' are; others come after them."""
    names = {name: number for number, name in enumerate(class_names)}
    if not names.keys() & set(stored.class_names):
        raise ValueError(
            f"queries and gallery must have classes in common, but {path} has "
            f"{', '.join(stored.class_names[:_SHOWN])}... and the queries "
            f"{', '.join(list(names)[:_SHOWN])}... Embed the same data for the gallery."
        )
    numbers = [names.setdefault(name, len(names)) for name in stored.class_names]
    labels: NDArray[Any] = np.array(numbers, dtype=np.int64)[stored.labels]
    return labels


def _require_same_images(queries: Side, gallery: Side, path: str) -> None:
    """Require that an id that is on both sides has one class: it names one image."""
    if not isinstance(queries.labels, np.ndarray):
        return
    _, ours, theirs = np.intersect1d(queries.ids, gallery.ids, return_indices=True)
    wrong = np.flatnonzero(queries.labels[ours] != gallery.labels[theirs])
    if len(wrong):
        raise ValueError(
            f"an id must name one image, but of {len(ours)} ids that both the queries and {path} "
            f"have, {len(wrong)} have two classes, first id {int(queries.ids[ours[wrong[0]]])}. "
            "The gallery is of other data: embed the data that is searched."
        )
