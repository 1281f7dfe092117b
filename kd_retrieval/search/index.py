"""FAISS indexes over stored embeddings: to search, never to measure with.

Reported scores come from :mod:`kd_retrieval.recall.at_k` and :mod:`kd_retrieval.recall.knn`, which
are exact to the last bit and keep nothing. An index is kept, may miss neighbors, and its
similarities are FAISS's own float32 ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_core.packages import missing_package
from kd_retrieval.embeddings.rows import EmbeddingKey, Embeddings
from kd_retrieval.recall.knn import Neighbors

KINDS = ("flat", "ivf", "hnsw")
METRICS = ("cosine", "l2", "dot")
QUERY_ONLY = 1  # the role of an image that is never a result
_CHUNK = 1 << 13  # rows that are converted together
_TO_TRAIN = 39  # vectors for each list below which faiss warns, ...
_AT_MOST = 256  # ... and beyond which it takes a sample
_FEWEST_LISTS = 10


@dataclass(frozen=True)
class SearchIndex:
    """A FAISS index over the gallery of some embeddings.

    Attributes:
        index: The FAISS index.
        kind: ``flat``, ``ivf`` or ``hnsw``.
        metric: ``cosine``, ``l2`` or ``dot``.
        key: What the embeddings were made from.
        rows: Row of the table for each position in the index, int64 (n,).
        ids: Id for each position in the index, int64 (n,).
        resources: Of a GPU, which live as long as the index.
    """

    index: Any
    kind: str
    metric: str
    key: EmbeddingKey
    rows: NDArray[Any]
    ids: NDArray[Any]
    resources: Any = None

    def search(
        self, queries: NDArray[Any], k: int, query_ids: NDArray[Any] | None = None
    ) -> Neighbors:
        """Find the nearest items.

        Args:
            queries: Embeddings (Q, D) of the same weights.
            k: How many; at most as many as there are.
            query_ids: Ids of the queries; an item with the query's own id is left out.

        Raises:
            ValueError: If k is below 1, D differs, or a vector cannot be normalized.
        """
        if k < 1 or queries.ndim != 2 or queries.shape[1] != self.index.d:
            raise ValueError(
                f"k must be at least 1 and queries must be (Q, {self.index.d}), but k is {k} and "
                f"queries are {queries.shape}. Take embeddings of the same model."
            )
        wanted = min(k + (query_ids is not None), len(self.rows))  # one of them may be itself
        scores, places = self.index.search(_prepared(queries, self.metric), wanted)
        own = np.zeros(places.shape, bool)
        if query_ids is not None:
            own = self.ids[places] == np.asarray(query_ids)[:, None]
        return self._without(own | (places < 0), places, scores, min(k, len(self.rows)))

    def _without(
        self, dropped: NDArray[Any], places: NDArray[Any], scores: NDArray[Any], k: int
    ) -> Neighbors:
        order = np.argsort(dropped, axis=1, kind="stable")[:, :k]  # the kept ones first
        gone = np.take_along_axis(dropped, order, 1)
        rows = self.rows[np.take_along_axis(places, order, 1)]
        found = np.take_along_axis(scores, order, 1)
        return Neighbors(np.where(gone, -1, rows), np.where(gone, np.float32("nan"), found))


def build_index(
    embeddings: Embeddings,
    kind: str = "flat",
    metric: str = "cosine",
    probes: int | None = None,
    seed: int = 0,
) -> SearchIndex:
    """Build an index over the gallery: all rows but those that are queries only.

    ``ivf`` has 4 * sqrt(n) lists, fewer where a list would be trained on fewer than 39 vectors; it
    learns them from a sample of at most 256 vectors each. ``hnsw`` has 32 links a node.

    Args:
        embeddings: What to search.
        kind: ``flat`` (exact), ``ivf`` or ``hnsw`` (both may miss neighbors).
        metric: ``cosine``, ``l2`` or ``dot``.
        probes: Of ``ivf``, how many lists a query looks at, of ``hnsw``, how many candidates it
            keeps; more is slower and more exact. The default is an eighth of the lists, and 64.
        seed: Decides the sample.

    Raises:
        ImportError: If faiss is not installed.
        ValueError: If a name is unknown, a vector is zero under cosine, or there are too few
            vectors to learn lists from.
    """
    if kind not in KINDS or metric not in METRICS:
        raise ValueError(
            f"an index is one of {', '.join(KINDS)} with one of {', '.join(METRICS)}, but it is "
            f"{kind!r} with {metric!r}."
        )
    rows = np.flatnonzero(embeddings.roles != QUERY_ONLY)
    index = _empty(kind, metric, embeddings.dim, len(rows))
    if kind == "ivf":
        count = min(len(rows), index.nlist * _AT_MOST)
        sample = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
        index.train(_prepared(embeddings.vectors[sample], metric, sample))
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        index.add(_prepared(embeddings.vectors[chunk], metric, chunk))
    set_probes(index, kind, probes)
    return SearchIndex(index, kind, metric, embeddings.key, rows, embeddings.ids[rows])


def agreement(found: Neighbors, exact: Neighbors) -> float:
    """Return the share of the exact neighbors that an index has found.

    Args:
        found: Its neighbors of some queries.
        exact: Those of a flat index, as many for the same queries.
    """
    hits = sum(
        len(np.intersect1d(ours[ours >= 0], theirs[theirs >= 0]))
        for ours, theirs in zip(found.rows, exact.rows, strict=True)
    )
    return hits / max(int((exact.rows >= 0).sum()), 1)


def _empty(kind: str, metric: str, dim: int, count: int) -> Any:
    faiss, measure = faiss_module(), faiss_metric(metric)
    if kind == "flat":
        return faiss.IndexFlat(dim, measure)
    if kind == "hnsw":
        return faiss.IndexHNSWFlat(dim, 32, measure)
    lists = min(int(4 * math.sqrt(count)), count // _TO_TRAIN)
    if lists < _FEWEST_LISTS:
        raise ValueError(
            f"an IVF index needs at least {_FEWEST_LISTS * _TO_TRAIN} vectors to learn its lists "
            f"from, but there are {count}. Take flat: it is exact, and fast at this size."
        )
    return faiss.IndexIVFFlat(faiss.IndexFlat(dim, measure), dim, lists, measure)


def faiss_metric(metric: str) -> Any:
    """Return FAISS's constant for a metric."""
    faiss = faiss_module()
    return faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT


def set_probes(index: Any, kind: str, probes: int | None) -> None:
    """Set how much of an index a query looks at; see :func:`build_index`.

    Raises:
        ValueError: If probes are below 1, or the index is flat and has none.
    """
    if probes is not None and (probes < 1 or kind == "flat"):
        raise ValueError(f"probes must be at least 1, of ivf or hnsw, but they are {probes}.")
    if kind == "ivf":
        index.nprobe = min(probes or math.ceil(index.nlist / 8), index.nlist)
    elif kind == "hnsw":
        index.hnsw.efSearch = probes or 64


def _prepared(vectors: NDArray[Any], metric: str, rows: NDArray[Any] | None = None) -> Any:
    """Convert vectors for FAISS: float32, in one block, of length 1 under cosine."""
    ready = np.ascontiguousarray(vectors, dtype=np.float32)
    if metric != "cosine":
        return ready
    lengths = np.linalg.norm(ready.astype(np.float64), axis=1)
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        row = bad[0] if rows is None else rows[bad[0]]
        raise ValueError(
            f"cosine needs vectors of a positive, finite length, but that of row {row} is "
            f"{lengths[bad[0]]}. Leave that image out, or take metric 'l2'."
        )
    return (ready / lengths[:, None]).astype(np.float32)


def faiss_module() -> Any:
    """Import faiss.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise missing_package("an index", "faiss") from error
    return faiss
