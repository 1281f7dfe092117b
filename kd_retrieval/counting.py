"""Count, for each query, the negatives above its best positive; nothing is sorted.

The best positive is found exactly among a query's own class. Then tile by tile of the similarity
matrix a quick product tells which pairs are surely above it and which surely below; what lies
between is computed exactly. A query needs no more once ``enough`` negatives are above. Where queries
and gallery are the same, a tile serves its rows and, transposed, its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_retrieval.positives import ClassLabels, LabelSets
from kd_retrieval.similarity import Similarity

_TILE = 2048  # rows and columns of a tile
_POSITIVES = (256, 8192)  # rows and columns of a tile in which positives are looked for
_DENSE = 64  # exact pairs cost as much as a tile with that many times more

Labels = ClassLabels | LabelSets


@dataclass
class Counts:
    """What was counted; merged over ranks by max and sum.

    Attributes:
        best: Exact similarity of each query's best positive, float64 (N,); -inf without one.
        above: Negatives strictly above it, int64 (N,); from ``enough`` on a lower bound.
        tied: Negatives equal to it, int64 (N,); of queries with less than ``enough`` above.
    """

    best: Tensor
    above: Tensor
    tied: Tensor


class Counter:
    """Count on tiles.

    Args:
        similarity: Queries and gallery, sorted by label where that is one for each.
        labels: Who is a positive of whom.
        itself: Row of the gallery that is the query itself, int64 (N,); -1 for none.
        symmetric: Queries and gallery are the same rows in the same order.
        enough: Negatives above after which a query is settled.
        tile: Rows and columns of a tile.
    """

    def __init__(
        self,
        similarity: Similarity,
        labels: Labels,
        itself: Tensor,
        symmetric: bool,
        enough: int,
        tile: int = _TILE,
    ) -> None:
        self.similarity, self.labels, self.itself = similarity, labels, itself
        self.symmetric, self.enough, self.tile = symmetric, enough, tile
        self.escalated = dict.fromkeys(similarity.levels, 0.0)

    def best_positives(self, rank: int = 0, world: int = 1) -> Tensor:
        """Find the best positive of this rank's share of the queries, exactly.

        Returns:
            Float64 (N,); -inf where there is none or another rank looks for it.
        """
        count, device = len(self.itself), self.itself.device
        best = torch.full((count,), -torch.inf, dtype=torch.float64, device=device)
        rows_at_once, columns_at_once = _POSITIVES
        for begin in range(rank * rows_at_once, count, world * rows_at_once):
            rows = slice(begin, min(begin + rows_at_once, count))
            first, last = self.labels.columns_of(rows)
            for left in range(first, last, columns_at_once):
                columns = slice(left, min(left + columns_at_once, last))
                positive = self.labels.same(rows, columns)
                own = self.itself[rows] - columns.start
                inside = (own >= 0) & (own < positive.shape[1])
                positive[inside.nonzero()[:, 0], own[inside]] = False
                if not bool(positive.any()):
                    continue
                tile = self.similarity.tile(rows, columns, torch.float64)
                tile.masked_fill_(~positive, -torch.inf)
                best[rows] = torch.maximum(best[rows], tile.amax(dim=1))
        return best

    def count(self, best: Tensor, rank: int = 0, world: int = 1) -> Counts:
        """Count the negatives above and level with the best positives, on this rank's tiles."""
        counts = Counts(best, torch.zeros_like(self.itself), torch.zeros_like(self.itself))
        for number, (rows, columns) in enumerate(self._tiles()):
            if number % world == rank:
                self._count_tile(counts, rows, columns)
        return counts

    def _tiles(self) -> Iterator[tuple[slice, slice]]:
        height, width = len(self.similarity.queries), len(self.similarity.gallery)
        for top in range(0, height, self.tile):
            for left in range(top if self.symmetric else 0, width, self.tile):
                yield (
                    slice(top, min(top + self.tile, height)),
                    slice(left, min(left + self.tile, width)),
                )

    def _count_tile(self, counts: Counts, rows: slice, columns: slice) -> None:
        queries, others = _numbers(rows, counts.above), _numbers(columns, counts.above)
        both = self.symmetric and rows != columns
        if not self._waiting(counts, queries).any() and not (
            both and self._waiting(counts, others).any()
        ):
            return
        level = self._first_level()
        tile = self.similarity.tile(rows, columns, level)
        self._add(counts, tile, queries, columns, level)
        if both:
            self._add(counts, tile.T, others, rows, level)

    def _waiting(self, counts: Counts, queries: Tensor) -> Tensor:
        """Tell which queries have a positive and are not settled."""
        return (counts.above[queries] < self.enough) & (counts.best[queries] > -torch.inf)

    def _first_level(self) -> torch.dtype:
        """Leave out a quick product that seldom decides: many ties, collapsed embeddings."""
        levels = self.similarity.levels
        return next(level for level in levels if self.escalated[level] < 0.5)

    def _add(
        self, counts: Counts, tile: Tensor, queries: Tensor, columns: slice, level: torch.dtype
    ) -> None:
        """Add a tile (R, C) of queries (R,) and a part of the gallery to the counts."""
        own = self.itself[queries] - columns.start
        inside = ((own >= 0) & (own < tile.shape[1])).nonzero()[:, 0]
        if len(inside):  # then the tile serves its rows alone
            tile[inside, own[inside]] = -torch.inf
        low = self.similarity.bounds(counts.best[queries], level)[1]
        # Most rows of good embeddings have nothing near their best positive.
        near = (tile.amax(dim=1) >= low) & self._waiting(counts, queries)
        chosen = near.nonzero()[:, 0]
        if not len(chosen):
            return
        part, queries = tile[chosen], queries[chosen]
        if level == torch.float64:
            self._add_exact(counts, part, queries, columns)
        else:
            self._add_quick(counts, part, queries, columns, level)

    def _add_exact(self, counts: Counts, part: Tensor, queries: Tensor, columns: slice) -> None:
        best = counts.best[queries, None]
        counts.above[queries] += _row_sums(part > best)
        ties = (part == best).nonzero()
        rows = queries[ties[:, 0]]
        negative = ~self.labels.same_pairs(rows, ties[:, 1] + columns.start)
        counts.tied += torch.bincount(rows[negative], minlength=len(counts.tied))

    def _add_quick(
        self, counts: Counts, part: Tensor, queries: Tensor, columns: slice, level: torch.dtype
    ) -> None:
        high, low = (bound[:, None] for bound in self.similarity.bounds(counts.best[queries], level))
        above = _row_sums(part > high)
        doubtful = _row_sums(part >= low) - above
        doubtful[counts.above[queries] + above >= self.enough] = 0
        unclear = doubtful.nonzero()[:, 0]
        pairs = int(doubtful.sum())
        dense = pairs * _DENSE > len(unclear) * part.shape[1]
        self._note(level, len(unclear) / len(queries) if dense else 0.0)
        if dense:
            above[unclear] = 0
            counts.above[queries] += above
            self._escalate(counts, queries[unclear], columns, level)
            return
        counts.above[queries] += above
        if pairs:
            lines = part[unclear]
            found = ((lines >= low[unclear]) & (lines <= high[unclear])).nonzero()
            self._add_pairs(counts, queries[unclear[found[:, 0]]], found[:, 1] + columns.start)

    def _escalate(
        self, counts: Counts, queries: Tensor, columns: slice, level: torch.dtype
    ) -> None:
        """Compute rows anew in the next higher precision."""
        levels = self.similarity.levels
        finer = levels[levels.index(level) + 1]
        tile = self.similarity.tile(queries, columns, finer)
        self._add(counts, tile, queries, columns, finer)

    def _add_pairs(self, counts: Counts, rows: Tensor, columns: Tensor) -> None:
        negative = ~self.labels.same_pairs(rows, columns)
        rows, columns = rows[negative], columns[negative]
        difference = self.similarity.pairs(rows, columns) - counts.best[rows]
        size = len(counts.above)
        counts.above += torch.bincount(rows[difference > 0], minlength=size)
        counts.tied += torch.bincount(rows[difference == 0], minlength=size)

    def _note(self, level: torch.dtype, share: float) -> None:
        self.escalated[level] = 0.8 * self.escalated[level] + 0.2 * share


def _row_sums(mask: Tensor) -> Tensor:
    """Count what is true in each row of a mask (R, C)."""
    return mask.view(torch.uint8).sum(dim=1, dtype=torch.int32).long()


def _numbers(rows: slice, like: Tensor) -> Tensor:
    return torch.arange(rows.start, rows.stop, device=like.device)
