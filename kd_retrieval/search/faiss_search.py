"""Find with FAISS what is near, and say what that leaves open.

FAISS computes in float32, in an order of its own. Its similarities are quick ones in the sense of
:mod:`kd_retrieval.recall.similarity`: they say which pairs are clear, and the others are computed
exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_core.extras import missing_package
from kd_retrieval.recall.count import Counts, RankCounter
from kd_retrieval.recall.similarity import Similarity

_SLACK = 8  # neighbors that are fetched beyond the largest K and the query itself
_CHUNK = 4096  # rows that are given to FAISS at once
_CELLS = 2**22  # neighbors that are held at once


class FlatSearch:
    """Search all rows of a gallery, one by one.

    The index takes M x D x 4 bytes.

    Args:
        similarity: Queries and gallery.

    Raises:
        ImportError: If faiss is not installed.
    """

    def __init__(self, similarity: Similarity) -> None:
        faiss = _faiss()
        self.similarity = similarity
        self.is_distance = similarity.gallery.squares is not None
        size = similarity.gallery.steps.shape[1]
        self.index = faiss.IndexFlatL2(size) if self.is_distance else faiss.IndexFlatIP(size)
        for begin in range(0, len(similarity.gallery), _CHUNK):
            rows = similarity.gallery.at(slice(begin, begin + _CHUNK), torch.float32)
            self.index.add(rows.cpu().numpy())

    def batch(self, count: int) -> int:
        """How many queries to search at once for so many neighbors."""
        return max(1, min(_CHUNK, _CELLS // count))

    def __call__(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Find neighbors.

        Args:
            queries: Rows of the queries, int64 (Q,).
            count: How many neighbors, at most as many as the gallery has.

        Returns:
            Quick similarities, float32 (Q, count), -inf where FAISS found nothing, and rows of
            the gallery, int64 (Q, count), 0 there. No other row's quick similarity is above the
            least of them.
        """
        vectors = self.similarity.queries.at(queries, torch.float32).cpu().numpy()
        found, places = self.index.search(vectors, count)
        quick, columns = torch.from_numpy(found), torch.from_numpy(places.astype(np.int64))
        if self.is_distance:
            quick.neg_()
        missing = columns < 0
        quick.masked_fill_(missing, -torch.inf)
        columns.masked_fill_(missing, 0)
        return quick.to(queries.device), columns.to(queries.device)


def survey_with_faiss(counter: RankCounter, best: Tensor, rank: int = 0, world: int = 1) -> Counts:
    """Do what :meth:`~kd_retrieval.recall.count.RankCounter.survey` does, among FAISS neighbors.

    The largest K and a few more neighbors are fetched. Where the last of them is surely below the
    best positive, the counts are exact. Where it is not, and too few negatives are above, every
    other row of the gallery may be: such queries stay open.

    Args:
        counter: What counts, and knows queries, gallery and labels.
        best: Exact similarity of each query's best positive, float64 (N,); -inf without one.
        rank: Which share of the queries to search.
        world: How many shares there are.
    """
    counts = Counts(torch.zeros_like(counter.itself), torch.zeros_like(counter.itself))
    search = FlatSearch(counter.similarity)
    width = min(counter.enough + 1 + _SLACK, len(counter.similarity.gallery))
    wanted = (best > -torch.inf).nonzero()[:, 0]
    for queries in wanted.split(search.batch(width))[rank::world]:
        quick, columns = search(queries, width)
        _survey(counter, best, counts, queries, quick, columns)
    return counts


def _survey(
    counter: RankCounter,
    best: Tensor,
    counts: Counts,
    queries: Tensor,
    quick: Tensor,
    columns: Tensor,
) -> None:
    high, low = counter.similarity.bounds(best[queries], torch.float32)
    size = len(counter.similarity.gallery)
    complete = (quick.amin(dim=1) < low) | (quick.shape[1] == size)
    quick.masked_fill_(columns == counter.itself[queries, None], -torch.inf)
    surely = quick > high[:, None]
    above = surely.sum(dim=1)
    close = complete & (above < counter.enough)
    doubtful = (quick >= low[:, None]) & ~surely & close[:, None]
    rows, places = doubtful.nonzero(as_tuple=True)
    pairs = queries[rows], columns[rows, places]
    negative = ~counter.labels.same_pairs(*pairs)
    rows = rows[negative]
    found = counter.similarity.pairs(*(side[negative] for side in pairs))
    difference = found - best[queries[rows]]
    above += torch.bincount(rows[difference > 0], minlength=len(queries))
    tied = torch.bincount(rows[difference == 0], minlength=len(queries))
    counts.above[queries] = above
    # A survey counts the best positive itself among what is level.
    counts.ties[queries] = torch.where(complete, tied + 1, size + 1)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise missing_package("this search", "faiss") from error
    return faiss
