"""Queries of a search: choosing them, and judging their neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kd_retrieval.embeddings.rows import EmbeddingKey, Embeddings, require_key
from kd_retrieval.recall.at_k import RecallResult, recall_at_k
from kd_retrieval.recall.knn import Neighbors
from kd_retrieval.search.index import SearchIndex, agreement, build_index
from kd_retrieval.search.page import Card, Row
from kd_retrieval.search.thumbnails import ImageOfRow, data_uri

_GALLERY_ONLY, _QUERY_ONLY = 2, 1
_NO_CLASS = -1  # label of a class that is not in the gallery
_OTHER_NETWORK = (
    "Embed them with the gallery's weights; or, if a term has aligned the two networks, add "
    "--asymmetric."
)
_MOST_IMAGES = 4000  # on a page; about 30 MiB
_SAMPLE = 1000  # queries on which a learned index is compared with an exact one


@dataclass(frozen=True)
class Queries:
    """Queries, in the terms of the gallery.

    Attributes:
        table: The embeddings that they come from.
        rows: Their rows in the table, int64 (Q,).
        labels: Their classes, as the gallery numbers them, int64 (Q,); -1 for a class that it
            does not have.
        ids: Their ids where the gallery holds the same image, otherwise one that it does not
            have, int64 (Q,).
        answerable: Whether the gallery has another image of the class, bool (Q,).
        symmetric: Whether every image is query and gallery.
    """

    table: Embeddings
    rows: NDArray[Any]
    labels: NDArray[Any]
    ids: NDArray[Any]
    answerable: NDArray[Any]
    symmetric: bool

    def vectors(self, chosen: NDArray[Any] | slice = slice(None)) -> NDArray[Any]:
        """Return embeddings of all or of some queries."""
        found: NDArray[Any] = self.table.vectors[self.rows[chosen]]
        return found


def queries_of(
    gallery: Embeddings, table: Embeddings | None = None, asymmetric: bool = False
) -> Queries:
    """Choose the queries of a gallery.

    Classes of two tables are compared by name, and images by id and path together.

    Args:
        gallery: What is searched.
        table: Where the queries come from; None for the gallery itself.
        asymmetric: Accept queries of another network.

    Raises:
        ValueError: If the networks or sizes differ, or there is no query.
    """
    own = table is None
    table = gallery if table is None else table
    if table.dim != gallery.dim:
        raise ValueError(
            f"queries and gallery must have one size D, but they have {table.dim} and "
            f"{gallery.dim}."
        )
    if not asymmetric:
        wanted = EmbeddingKey(checkpoint=gallery.key.checkpoint, model=gallery.key.model)
        require_key(table.key, wanted, "the file of queries", _OTHER_NETWORK)
    rows = np.flatnonzero(table.roles != _GALLERY_ONLY)
    if not len(rows):
        raise ValueError("there is no query: every image is in the gallery only.")
    number = {name: label for label, name in enumerate(gallery.class_names)}
    names = np.array([number.get(name, _NO_CLASS) for name in table.class_names], np.int64)
    labels = names[table.labels[rows]]
    members = gallery.roles != _QUERY_ONLY
    ids = _shared_ids(gallery, table, rows, members)
    counts = np.bincount(
        gallery.labels[members], minlength=len(gallery.class_names) + 1
    )  # the last for -1
    others = counts[labels] - np.isin(ids, gallery.ids[members])
    symmetric = own and bool(members.all()) and len(rows) == len(table)
    return Queries(table, rows, labels, ids, others > 0, symmetric)


def exact_recall(
    gallery: Embeddings, queries: Queries, ks: Sequence[int], metric: str
) -> RecallResult:
    """Measure recall@K over all queries, exactly, without an index."""
    members = np.flatnonzero(gallery.roles != _QUERY_ONLY)
    found: dict[str, Any] = {}
    if not queries.symmetric:
        found = dict(
            gallery=_tensor(gallery.vectors[members]),
            gallery_labels=gallery.labels[members],
            gallery_ids=gallery.ids[members],
        )
    return recall_at_k(
        _tensor(queries.vectors()),
        queries.labels,
        **found,
        ks=tuple(ks),
        query_ids=queries.ids,
        metric=metric,
    )


def measured_agreement(index: SearchIndex, gallery: Embeddings, queries: Queries, k: int) -> float:
    """Return the share of the exact k neighbors that an index finds, on a sample of queries."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(queries.rows))[:_SAMPLE]
    exact = build_index(gallery, "flat", index.metric)
    vectors, ids = queries.vectors(chosen), queries.ids[chosen]
    return agreement(index.search(vectors, k, ids), exact.search(vectors, k, ids))


def choose_queries(
    index: SearchIndex, gallery: Embeddings, queries: Queries, k: int, count: int, worst: bool
) -> NDArray[Any]:
    """Choose queries to look at.

    They are those that the gallery can answer and, unless the worst are wanted, those of a class
    that it does not have. A query that is the only image of its class is not worth a look.

    Args:
        index: What is searched.
        gallery: The table behind it.
        queries: All queries.
        k: Number of neighbors.
        count: How many to choose.
        worst: Those with the fewest right neighbors, and among these the ones whose nearest
            wrong neighbor is nearest; otherwise a sample that is always the same.

    Returns:
        Positions in ``queries``.

    Raises:
        ValueError: If there is nothing to choose from, or count is below 1.
    """
    if count < 1:
        raise ValueError(f"at least one query must be shown, but the number is {count}.")
    unknown = (queries.labels == _NO_CLASS) & (not worst)
    able = np.flatnonzero(queries.answerable | unknown)
    if not len(able):
        raise ValueError("no query has another image of its class in the gallery.")
    if not worst:
        able = np.sort(np.random.default_rng(0).permutation(able)[:count])
        return able
    found = index.search(queries.vectors(able), k, queries.ids[able])
    hits = right_neighbors(found, gallery, queries, able)
    near = -found.scores if index.metric == "l2" else found.scores
    wrong = np.where(hits | (found.rows < 0), -np.inf, near).max(axis=1)
    worst_first: NDArray[Any] = able[np.lexsort((-wrong, hits.sum(axis=1)))]
    return worst_first[:count]


def right_neighbors(
    found: Neighbors, gallery: Embeddings, queries: Queries, chosen: NDArray[Any]
) -> NDArray[Any]:
    """Return which neighbors surely have their query's class, bool (Q, K)."""
    same = gallery.labels[found.rows] == queries.labels[chosen][:, None]
    hits: NDArray[Any] = same & (found.rows >= 0)
    return hits


def page_rows(
    index: SearchIndex,
    gallery: tuple[Embeddings, ImageOfRow | None],
    queries: tuple[Queries, ImageOfRow | None],
    chosen: NDArray[Any],
    k: int,
) -> list[Row]:
    """Lay out some queries and their neighbors.

    Args:
        index: What is searched.
        gallery: The table behind it, and the images of its rows.
        queries: All queries, and the images of the rows of their table.
        chosen: Positions in the queries.
        k: Number of neighbors.

    Raises:
        ValueError: If the page would be too large.
    """
    table, asked = gallery[0], queries[0]
    if (count := len(chosen) * (min(k, len(index.rows)) + 1)) > _MOST_IMAGES:
        raise ValueError(
            f"a page has at most {_MOST_IMAGES:,} images, but {len(chosen)} queries with {k} "
            f"neighbors each make {count:,}. Show fewer."
        )
    found = index.search(asked.vectors(chosen), k, asked.ids[chosen])
    kinds = np.where(right_neighbors(found, table, asked, chosen), "right", "wrong")
    kinds[asked.labels[chosen] == _NO_CLASS] = "open"
    page = []
    for i, position in enumerate(chosen):
        cards = [
            _card(table, gallery[1], int(row), f"{found.scores[i, j]:.3f}", str(kinds[i, j]))
            for j, row in enumerate(found.rows[i])
            if row >= 0
        ]
        page.append(Row(_card(asked.table, queries[1], int(asked.rows[position]), ""), cards))
    return page


def _card(
    table: Embeddings, images: ImageOfRow | None, row: int, note: str, kind: str = "query"
) -> Card:
    image = data_uri(images(row)) if images else ""
    name = table.class_names[table.labels[row]]
    return Card(name, table.paths[row], image, note, kind)


def _shared_ids(
    gallery: Embeddings, table: Embeddings, rows: NDArray[Any], members: NDArray[Any]
) -> NDArray[Any]:
    """Keep the ids of images that are in the gallery too; equal ids may name other images."""
    ids: NDArray[Any] = table.ids[rows]
    if table is gallery or table.key.data == gallery.key.data:
        return ids
    there = {(int(gallery.ids[row]), gallery.paths[row]) for row in np.flatnonzero(members)}
    free = min(int(gallery.ids.min()), 0) - 1  # from here on down no id is taken
    shared = [
        (int(number), table.paths[row]) in there for number, row in zip(ids, rows, strict=True)
    ]
    return np.where(shared, ids, free - rows)


def _tensor(vectors: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(vectors, dtype=np.float32))
