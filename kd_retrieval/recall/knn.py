"""Nearest neighbors, and the scores that need them: MAP@R and R-precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kd_retrieval.recall.grid import times_power
from kd_retrieval.recall.inputs import RecallInput, prepare
from kd_retrieval.recall.near_copies import copies_note
from kd_retrieval.recall.precision import full_precision
from kd_retrieval.recall.similarity import Similarity
from kd_retrieval.search.faiss_search import FlatSearch

_SLACK = 8  # neighbors that are fetched beyond those wanted, at least, ...
_SHARE = 8  # ... and one for each so many of them
_DENSE = 8  # an exact pair costs as much as so many in a full exact product
_CELLS = 2**22  # numbers in a table of neighbors
_CHUNK = 4096  # rows

Order = Callable[[Tensor, Tensor], Tensor]  # queries (Q, 1) and columns (Q, F) to keys (Q, F)


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of a gallery, nearest first; tensors or arrays.

    Attributes:
        rows: Rows of the gallery, int64 (N, K); -1 where there are fewer.
        scores: Scores that they were ranked by (N, K). From :func:`nearest`, exact similarities of
            the embeddings as they were compared (rounded to 2^-26 of the longest), float64: cosine,
            dot product or negative squared distance; -inf where the row is -1. From a search
            index, FAISS's cosine, dot product or squared distance, float32; NaN where it is -1.
    """

    rows: Any
    scores: Any


@dataclass(frozen=True)
class RankingScores:
    """Result of :func:`ranking_scores`.

    Attributes:
        map_at_r: Mean average precision at R, from 0 to 1.
        r_precision: Mean precision among the first R, from 0 to 1.
        n_valid: Queries that have a positive; the means are over these.
        n_queries: All queries.
    """

    map_at_r: float
    r_precision: float
    n_valid: int
    n_queries: int


def nearest(
    queries: Any,
    gallery: Any = None,
    *,
    k: int,
    query_ids: Any = None,
    gallery_ids: Any = None,
    metric: str = "cosine",
) -> Neighbors:
    """Find the nearest rows of a gallery, without the query itself.

    FAISS finds candidates; their similarities are then computed exactly, so the result is the same
    on every machine. Rows at the same similarity are in the order of the gallery.

    Args:
        queries: Embeddings (N, D), tensor or array, of any floating type.
        gallery: Embeddings (M, D) to search; None searches the queries themselves.
        k: How many neighbors.
        query_ids: Id of each query, int64 (N,). Needed where queries are in the gallery.
        gallery_ids: Id of each row of the gallery, int64 (M,).
        metric: ``cosine``, ``l2`` or ``dot``.

    Raises:
        ValueError: As :func:`kd_retrieval.recall_at_k` does.
        ImportError: If faiss is not installed.

    Example:
        >>> nearest(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), k=1).rows.tolist()
        [[2], [2], [0]]
    """
    given = prepare(
        queries, _one_class(queries), gallery, _one_class(gallery),
        ks=(k,), query_ids=query_ids, gallery_ids=gallery_ids, metric=metric,
    )  # fmt: skip
    rows = torch.full((len(given.queries), k), -1, device=given.itself.device)
    scores = torch.full(rows.shape, -torch.inf, dtype=torch.float64, device=rows.device)
    wanted = torch.full_like(given.itself, min(k, len(given.gallery)))
    with torch.no_grad(), full_precision(given.itself.device):
        for chosen, columns, values in _ranked(given, wanted, lambda _, columns: columns):
            width = columns.shape[1]
            rows[chosen, :width], scores[chosen, :width] = columns, values
    for _ in ("query", "gallery"):  # both were divided by this power
        scores = times_power(scores, given.exponent)
    return Neighbors(rows, scores)


def ranking_scores(
    queries: Any,
    query_labels: Any,
    gallery: Any = None,
    gallery_labels: Any = None,
    *,
    query_ids: Any = None,
    gallery_ids: Any = None,
    metric: str = "cosine",
) -> RankingScores:
    """Measure how well the first R neighbors are ordered; R is a query's number of positives.

        R-precision = 1/R sum_{i=1..R} rel(i)
        MAP@R       = 1/R sum_{i=1..R} rel(i) 1/i sum_{j=1..i} rel(j)

    where rel(i) is 1 if the i-th neighbor is a positive, otherwise 0. The query itself is neither
    neighbor nor positive, and queries without a positive are left out. At the same similarity
    negatives come first.

    Musgrave, Belongie and Lim, "A Metric Learning Reality Check", ECCV 2020,
    https://arxiv.org/abs/2003.08505. The published formulas.

    Args:
        queries: Embeddings (N, D), tensor or array, of any floating type.
        query_labels: Class of each, int64 (N,), or a set of classes for each.
        gallery: Embeddings (M, D) to search; None searches the queries themselves.
        gallery_labels: Their classes.
        query_ids: Id of each query, int64 (N,). Needed where queries are in the gallery; if
            there are none and most queries seem to be, a warning is logged.
        gallery_ids: Id of each row of the gallery, int64 (M,).
        metric: ``cosine``, ``l2`` or ``dot``.

    Raises:
        ValueError: As :func:`kd_retrieval.recall_at_k` does.
        ImportError: If faiss is not installed.

    Example:
        >>> row = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.4, 0.6], [0.7, 0.3]])
        >>> scores = ranking_scores(row, [0, 0, 1, 1, 0])
        >>> round(scores.map_at_r, 4), scores.r_precision
        (0.8, 0.8)
    """
    given = prepare(
        queries, query_labels, gallery, gallery_labels,
        ks=(1,), query_ids=query_ids, gallery_ids=gallery_ids, metric=metric,
    )  # fmt: skip
    averages, shares = [], []
    with torch.no_grad(), full_precision(given.itself.device):
        copies_note(given)
        positives = _positives(given)
        for chosen, columns, _ in _ranked(given, positives, _same(given)):
            average, share = _at_r(_same(given)(chosen[:, None], columns), positives[chosen])
            averages += average.tolist()
            shares += share.tolist()
    n_valid = len(shares)
    if not n_valid:
        raise ValueError(
            "MAP@R needs a query with a positive, but none has one: no class has two images (or "
            "none of a query's class is in the gallery). Check the labels and ids."
        )
    return RankingScores(
        math.fsum(averages) / n_valid, math.fsum(shares) / n_valid, n_valid, len(positives)
    )


def map_at_r(queries: Any, query_labels: Any, *sides: Any, **options: Any) -> float:
    """Measure mean average precision at R; see :func:`ranking_scores`."""
    return ranking_scores(queries, query_labels, *sides, **options).map_at_r


def r_precision(queries: Any, query_labels: Any, *sides: Any, **options: Any) -> float:
    """Measure R-precision; see :func:`ranking_scores`."""
    return ranking_scores(queries, query_labels, *sides, **options).r_precision


def _positives(given: RecallInput) -> Tensor:
    """Count the positives of each query (N,)."""
    counts = torch.zeros_like(given.itself)
    step = max(1, min(_CHUNK, _CELLS // len(given.gallery)))
    for begin in range(0, len(counts), step):
        rows = slice(begin, min(begin + step, len(counts)))
        first, last = given.labels.columns_of(rows)
        counts[rows] = given.labels.same(rows, slice(first, last)).sum(dim=1)
    inside = (given.itself >= 0).nonzero()[:, 0]
    counts[inside] -= given.labels.same_pairs(inside, given.itself[inside]).long()
    return counts


def _same(given: RecallInput) -> Order:
    def same(queries: Tensor, columns: Tensor) -> Tensor:
        rows = queries.expand_as(columns).flatten()
        return given.labels.same_pairs(rows, columns.flatten()).view_as(columns)

    return same


def _at_r(right: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Average precision and precision at R of each query, float64 (Q,).

    Args:
        right: Which neighbors are positives (Q, W).
        wanted: R of each query (Q,).
    """
    place = torch.arange(1, right.shape[1] + 1, device=right.device)
    right = right & (place <= wanted[:, None])
    precision = right.cumsum(dim=1).double() / place
    return (precision * right).sum(dim=1) / wanted, right.sum(dim=1).double() / wanted


def _ranked(
    given: RecallInput, wanted: Tensor, order: Order
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rank what is nearest to each query.

    Args:
        given: Queries and gallery.
        wanted: How many neighbors of each query must be right (N,); 0 leaves it out.
        order: What decides at the same similarity: the smaller comes first.

    Yields:
        Queries (Q,), rows of the gallery (Q, W) and exact similarities (Q, W), -1 and -inf where
        there is none; W is the most that one of these queries wants.
    """
    ranking = _Ranking(given, wanted, order)
    asked = (wanted > 0).nonzero()[:, 0]
    while len(asked):
        size = ranking.batch(int(wanted[asked[:_CHUNK]].max()))
        queries, asked = asked[:size], asked[size:]
        yield queries, *ranking(queries)


class _Ranking:
    def __init__(self, given: RecallInput, wanted: Tensor, order: Order) -> None:
        self.similarity = Similarity(given.queries, given.gallery)
        self.search = FlatSearch(self.similarity)
        self.itself, self.wanted, self.order = given.itself, wanted, order
        self.size = len(given.gallery)

    def batch(self, count: int) -> int:
        return max(1, min(_CHUNK, _CELLS // self._width(count)))

    def __call__(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        count = int(self.wanted[queries].max())
        columns = torch.full((len(queries), count), -1, device=queries.device)
        values = torch.full(columns.shape, -torch.inf, dtype=torch.float64, device=queries.device)
        open_ = torch.arange(len(queries), device=queries.device)
        if _DENSE * self._width(count) < self.size:
            settled, columns, values = self._from_faiss(queries, count)
            open_ = (~settled).nonzero()[:, 0]
        for part in open_.split(max(1, _CELLS // self.size)):
            columns[part], values[part] = self._from_all(queries[part], count)
        columns[values == -torch.inf] = -1
        return columns, values

    def _width(self, count: int) -> int:
        return min(self.size, count + 1 + max(_SLACK, count // _SHARE))

    def _from_faiss(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rank candidates, and return for which queries no other row can be among the wanted."""
        approximate, columns = self.search(queries, self._width(count))
        rows = queries[:, None].expand_as(columns)
        values = self.similarity.pairs(rows.flatten(), columns.flatten()).view_as(columns)
        values.masked_fill_(torch.isinf(approximate), -torch.inf)
        columns, values = self._first(queries, columns, values, count)
        last = values.gather(1, self.wanted[queries, None] - 1)[:, 0]
        settled = approximate.amin(dim=1) < self.similarity.bounds(last, torch.float32)[1]
        return settled, columns, values

    def _from_all(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        values = self.similarity.tile(queries, slice(0, self.size), torch.float64)
        columns = torch.arange(self.size, device=queries.device).expand_as(values)
        return self._first(queries, columns, values, count)

    def _first(
        self, queries: Tensor, columns: Tensor, values: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        values = values.masked_fill(columns == self.itself[queries, None], -torch.inf)
        by_key = self.order(queries[:, None], columns).argsort(dim=1, stable=True)
        values, columns = values.gather(1, by_key), columns.gather(1, by_key)
        values, by_value = values.sort(dim=1, descending=True, stable=True)
        return columns.gather(1, by_value)[:, :count], values[:, :count]


def _one_class(side: Any) -> Tensor | None:
    """Return labels under which rows stay in their order."""
    return None if side is None else torch.zeros(len(side), dtype=torch.int64)
