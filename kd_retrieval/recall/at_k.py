"""Recall@K: exact, every K in one pass, without sorting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kd_retrieval.recall.count import Counts, RankCounter
from kd_retrieval.recall.inputs import RecallInput, prepare
from kd_retrieval.recall.near_copies import copies_note
from kd_retrieval.recall.precision import full_precision
from kd_retrieval.recall.ranks import rank_and_world, reduce_over_ranks, warn
from kd_retrieval.recall.similarity import Similarity

_GAP = 1e-3  # difference of optimistic and pessimistic recall that is worth a warning


@dataclass(frozen=True)
class RecallResult:
    """Result of :func:`recall_at_k`.

    Attributes:
        recall: K to the share of queries with a positive among the K nearest; ties count as
            negatives first (the pessimistic value).
        optimistic: The same with ties counted as positives first.
        n_valid: Queries that have a positive.
        n_queries: All queries.
        n_gallery: Rows of the gallery.
        notes: Sentences that a reader must know; those that put the number in doubt are also
            logged as warnings.
        found_at: The smallest of the K that finds a positive of each query, int64 (n_queries,);
            0 where none does, -1 where there is no positive.
    """

    recall: Mapping[int, float]
    optimistic: Mapping[int, float]
    n_valid: int
    n_queries: int
    n_gallery: int
    notes: tuple[str, ...] = ()
    found_at: Tensor = field(repr=False, default_factory=lambda: torch.empty(0).long())

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
    count_no_positive_as_miss: bool = False,
    distributed: bool = False,
) -> RecallResult:
    """Measure the share of queries with an item of their class among the K nearest.

    Nothing is sorted: the negatives above each query's best positive are counted, in tiles. The
    result is exact and the same for any device, number of threads and ranks; ties are ties (see
    :mod:`kd_retrieval.recall.similarity`). A query is never compared with itself, found by id. It
    costs about one matrix product of N x M x D, or half of it without a gallery. It takes
    (N + M) x D x 6 bytes (4 without fast bfloat16 products; M is 0 without a gallery) and 40 MB
    for tiles. On a GPU only blocks of rows are held: 270 MB a side, 230 bytes a row and up to 500
    MB for tiles, which are halved where memory is short. Sets of labels take a bit for each image
    and label on top, and have positives looked for in the whole product.

    Args:
        queries: Embeddings (N, D), tensor or array, of any floating type, on any device.
        query_labels: Class of each, int64 (N,), or a set of classes for each: a positive then
            shares at least one.
        gallery: Embeddings (M, D) to search; None searches the queries themselves.
        gallery_labels: Their classes.
        ks: The K to report; beyond the gallery's size the recall at that size.
        query_ids: Id of each query, int64 (N,). Needed where queries are in the gallery. If
            there are none, equal rows on both sides are an error; rows that are nearly equal, as
            when the same images were embedded twice, are a note where most queries have one.
        gallery_ids: Id of each row of the gallery, int64 (M,).
        metric: ``cosine``, ``l2`` or ``dot``.
        count_no_positive_as_miss: Count queries without a positive as misses; otherwise they are
            left out, and their number is in the result.
        distributed: All ranks of torch.distributed share the work. Each passes the same
            embeddings, and each gets the whole result.

    Returns:
        The recalls and the counts behind them.

    Raises:
        ValueError: If embeddings are not finite, zero under cosine, or do not match labels, ids
            or each other; if no query has a positive; if K or metric is unknown.

    Example:
        >>> recall_at_k(torch.eye(4)[[0, 0, 1, 1, 2]], [7, 7, 8, 9, 9], ks=(1,)).recall
        {1: 0.5}
    """
    given = prepare(
        queries, query_labels, gallery, gallery_labels,
        ks=ks, query_ids=query_ids, gallery_ids=gallery_ids, metric=metric, in_blocks=True,
    )  # fmt: skip
    rank, world = rank_and_world() if distributed else (0, 1)
    with torch.no_grad(), full_precision(given.itself.device):
        best, counts = _measure(given, rank, world)
    return _result(given, best, counts, count_no_positive_as_miss)


def _measure(given: RecallInput, rank: int, world: int) -> tuple[Tensor, Counts]:
    similarity = Similarity(given.queries, given.gallery)
    counter = RankCounter(similarity, given.labels, given.itself, given.symmetric, given.ks)
    best = counter.best_positives(rank, world)
    if world > 1:
        reduce_over_ranks(best, "max")
    if not bool((best > -torch.inf).any()):
        raise ValueError(
            "recall needs a query with a positive, but none has one: no class has two images "
            "(or none of a query's class is in the gallery). Check the labels and ids."
        )
    counts = counter.survey(best, rank, world)
    _sum_over_ranks(counts, world)
    undecided = counter.undecided(best, counts)
    exact = counter.recount(best, undecided, rank, world)
    _sum_over_ranks(exact, world)
    counts.ties.zero_()  # what a survey leaves open of the others decides nothing
    counts.above[undecided] = exact.above[undecided]
    counts.ties[undecided] = exact.ties[undecided]
    return best, counts


def _sum_over_ranks(counts: Counts, world: int) -> None:
    if world > 1:
        reduce_over_ranks(counts.above, "sum")
        reduce_over_ranks(counts.ties, "sum")


def _result(given: RecallInput, best: Tensor, counts: Counts, as_miss: bool) -> RecallResult:
    ks = torch.tensor(sorted(given.ks), device=best.device)
    valid = best > -torch.inf
    n_valid, n_queries = int(valid.sum()), len(valid)
    total = n_queries if as_miss else n_valid
    missed = counts.buckets(ks)  # at how many K: optimistic, pessimistic
    optimistic, recall = (
        {k: int((side[valid] <= place).sum()) / total for place, k in enumerate(ks.tolist())}
        for side in missed
    )
    found_at = torch.cat([ks, ks.new_zeros(1)])[missed[1]]
    in_order = torch.empty_like(found_at)
    in_order[given.order] = torch.where(valid, found_at, -1)
    notes = _notes(given, n_valid, n_queries, as_miss, recall, optimistic)
    if copies := copies_note(given, best):
        notes.append(copies)
    return RecallResult(
        {k: recall[k] for k in given.ks},
        {k: optimistic[k] for k in given.ks},
        n_valid,
        n_queries,
        len(given.gallery),
        tuple(notes),
        in_order.cpu(),
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
        warn(note)
    return notes
