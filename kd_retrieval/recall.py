"""Recall@K: exact, every K in one pass, without sorting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine import dist
from mmengine.logging import print_log
from torch import Tensor

from kd_retrieval.counting import Counter, Counts
from kd_retrieval.recall_input import RecallInput, prepare
from kd_retrieval.similarity import Similarity, full_precision

BACKENDS = ("torch", "faiss")
_GAP = 1e-3  # between optimistic and pessimistic recall, from which on it is worth a warning


@dataclass(frozen=True)
class RecallResult:
    """What :func:`recall_at_k` found.

    Attributes:
        recall: K to the share of queries with a positive among the K nearest; ties count as
            negatives first (the pessimistic value).
        optimistic: The same with ties counted as positives first.
        n_valid: Queries that have a positive.
        n_queries: All queries.
        n_gallery: Rows of the gallery.
        notes: What a reader must know, in sentences.
        ranks: Negatives at least as near as the best positive, int64 (n_queries,), in the order
            of the queries; exact below the largest K, and the largest K from there on; -1 where
            there is no positive.
    """

    recall: Mapping[int, float]
    optimistic: Mapping[int, float]
    n_valid: int
    n_queries: int
    n_gallery: int
    notes: tuple[str, ...] = ()
    ranks: Tensor = field(repr=False, default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __str__(self) -> str:
        values = ", ".join(f"R@{k} {100 * share:.2f}" for k, share in self.recall.items())
        counts = (
            f"{self.n_valid:,} of {self.n_queries:,} queries have a positive among "
            f"{self.n_gallery:,} images"
        )
        return "\n".join([f"{values} ({counts})", *(f"note: {note}" for note in self.notes)])


def recall_at_k(
    queries: Any,
    query_labels: Any,
    gallery: Any = None,
    gallery_labels: Any = None,
    *,
    ks: Sequence[int] = (1, 2, 4, 8),
    query_ids: Any = None,
    gallery_ids: Any = None,
    metric: str = "cosine",
    backend: str = "torch",
    count_no_positive_as_miss: bool = False,
    distributed: bool = False,
) -> RecallResult:
    """Measure the share of queries with an item of their class among the K nearest.

    Nothing is sorted: the negatives above each query's best positive are counted, in tiles. The
    result is exact and the same for any backend, device, number of threads and ranks; ties are
    ties (see :mod:`kd_retrieval.similarity`). A query is never compared with itself, found by id.
    It costs at most one matrix product of N x M x D and takes N x D x 6 bytes (4 without quick
    bfloat16 products) and tiles of 2,048 x 2,048.

    Args:
        queries: Embeddings (N, D), tensor or array, of any floating type, on any device.
        query_labels: Class of each, int64 (N,), or a set of classes for each: a positive then
            shares at least one.
        gallery: Embeddings (M, D) to search; None searches the queries themselves.
        gallery_labels: Their classes.
        ks: The K to report; beyond the gallery's size the recall at that size.
        query_ids: What names each query, int64 (N,). Needed where queries are in the gallery.
        gallery_ids: What names each row of the gallery, int64 (M,).
        metric: ``cosine``, ``l2`` or ``dot``.
        backend: ``torch`` counts; ``faiss`` searches neighbours with FAISS and counts where that
            leaves doubts. Both give the same numbers; ``torch`` is quicker.
        count_no_positive_as_miss: Count queries without a positive as misses; else they are left
            out, and their number is in the result.
        distributed: All ranks of torch.distributed share the work. Each gives the same
            embeddings, and each gets the whole result.

    Returns:
        The recalls and what they rest on.

    Raises:
        ValueError: If embeddings are not finite, zero under cosine, or do not match labels, ids
            or each other; if no query has a positive; if K, metric or backend is unknown.
        ImportError: If FAISS is needed and not installed.

    Example:
        >>> recall_at_k(torch.eye(4)[[0, 0, 1, 1, 2]], [7, 7, 8, 9, 9], ks=(1,)).recall
        {1: 0.4}
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, but it is {backend!r}.")
    given = prepare(
        (queries, query_labels, query_ids), (gallery, gallery_labels, gallery_ids), ks, metric
    )
    rank, world = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
    with torch.no_grad(), full_precision():
        counts = _counts(given, backend, rank, world)
    return _result(given, counts, count_no_positive_as_miss)


def _counts(given: RecallInput, backend: str, rank: int, world: int) -> Counts:
    counter = Counter(
        Similarity(given.queries, given.gallery),
        given.labels,
        given.itself,
        given.symmetric,
        enough=max(given.ks),
    )
    best = counter.best_positives(rank, world)
    if world > 1:
        dist.all_reduce(best, "max")
    if not bool((best > -torch.inf).any()):
        raise ValueError(
            "recall needs a query with a positive, but none has one: no class has two images "
            "(or none of a query's class is in the gallery). Check the labels and ids."
        )
    if backend == "faiss":
        from kd_retrieval.faiss_search import count_with_faiss

        counts = count_with_faiss(counter, best, rank, world)
    else:
        counts = counter.count(best, rank, world)
    if world > 1:
        dist.all_reduce(counts.above, "sum")
        dist.all_reduce(counts.tied, "sum")
    return counts


def _result(given: RecallInput, counts: Counts, as_miss: bool) -> RecallResult:
    most = max(given.ks)
    valid = counts.best > -torch.inf
    above = counts.above.clamp(max=most)
    level = (counts.above + counts.tied).clamp(max=most)
    n_valid, n_queries = int(valid.sum()), len(valid)
    n_gallery = len(given.gallery)
    total = n_queries if as_miss else n_valid
    recall, optimistic = (
        {k: int((rank[valid] < k).sum()) / total for k in given.ks} for rank in (level, above)
    )
    ranks = torch.empty_like(level)
    ranks[given.order] = torch.where(valid, level, -1)
    notes = _notes(given, n_valid, n_queries, as_miss, recall, optimistic)
    return RecallResult(
        recall, optimistic, n_valid, n_queries, n_gallery, tuple(notes), ranks.cpu()
    )


def _notes(
    given: RecallInput,
    n_valid: int,
    n_queries: int,
    as_miss: bool,
    recall: Mapping[int, float],
    optimistic: Mapping[int, float],
) -> list[str]:
    notes = []
    if n_valid < n_queries:
        what = "count as misses" if as_miss else "are left out"
        notes.append(f"{n_queries - n_valid:,} queries have no positive and {what}")
    reachable = len(given.gallery) - bool((given.itself >= 0).any())
    beyond = [k for k in given.ks if k > reachable]
    if beyond:
        notes.append(
            f"K of {', '.join(map(str, beyond))} is beyond the {reachable:,} images that a query "
            "can find: the recall is that of all of them"
        )
    gaps = {k: optimistic[k] - recall[k] for k in given.ks}
    worst = max(gaps, key=lambda k: gaps[k])
    if gaps[worst] > _GAP:
        note = (
            f"ties decide: R@{worst} is {100 * recall[worst]:.2f} if they count against the model "
            f"and {100 * optimistic[worst]:.2f} if they count for it. Many embeddings are equal: "
            "duplicated images, or a collapsed model"
        )
        notes.append(note)
        print_log(note, "current", 30)
    return notes
