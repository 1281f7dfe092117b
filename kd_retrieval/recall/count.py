"""Counts of the negatives above each query's best positive; nothing is sorted.

The best positive is found exactly among a query's own class. Then tiles of fast products show how
many negatives are surely above it, and how many may be. That decides most queries: only where a K
lies between the two numbers are the doubtful pairs of a query found and computed exactly. Where
queries and gallery are the same, a fast tile serves its rows and, transposed, its columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kd_retrieval.recall.labels import ClassLabels, LabelSets
from kd_retrieval.recall.pieces import Pieces
from kd_retrieval.recall.ranks import warn
from kd_retrieval.recall.similarity import Similarity
from kd_retrieval.recall.tile_sums import numbers, reaches, row_sums

if TYPE_CHECKING:
    from kd_retrieval.recall.tile_kernel import TileKernel

_TILE = 1024  # rows and columns of a tile
_POSITIVES = (128, 8192)  # rows and columns of a tile in which positives are looked for
_GPU_SCALE = 8  # times that on a GPU: fewer and longer kernels; 134 MB in bfloat16
_FEW = 4096  # queries on a GPU, below which the time to build a kernel is not worth it
_DENSE = 64  # exact pairs cost as much as a finer tile with that many times more
_OFTEN = 0.5  # share of rows that need a finer tile, above which the coarser is skipped

Labels = ClassLabels | LabelSets


def tile_kernel(similarity: Similarity, itself: Tensor, best: Tensor) -> TileKernel | None:
    """Return the kernel that counts tiles, on a GPU with triton and bfloat16 rows; else None."""
    if not itself.is_cuda or len(itself) < _FEW or not similarity.has_half:
        return None
    try:
        from kd_retrieval.recall.tile_kernel import TileKernel

        kernel = TileKernel(similarity, itself, best)
        kernel.try_out()
    except Exception as error:  # no triton, no C compiler for it, an old GPU, ...
        warn(f"recall counts without triton, which takes longer: {error or type(error).__name__}")
        return None
    return kernel


@dataclass
class Counts:
    """Counts of one rank; their sums over ranks are the counts of all.

    Attributes:
        above: Negatives strictly above the best positive, int64 (N,); from the largest K on a
            lower bound.
        ties: Negatives equal to it, int64 (N,), or an upper bound where that decides nothing.
    """

    above: Tensor
    ties: Tensor

    def buckets(self, ks: Tensor) -> tuple[Tensor, Tensor]:
        """Return how many of the ascending K (L,) miss a query: at best, and at worst."""
        return torch.bucketize(self.above, ks, right=True), torch.bucketize(
            self.above + self.ties, ks, right=True
        )


class RankCounter:
    """Counter that works on tiles of the similarity matrix.

    Args:
        similarity: Queries and gallery, sorted by label where that is one for each.
        labels: Labels, by which rows are positives of one another.
        itself: Row of the gallery that is the query itself, int64 (N,); -1 for none.
        symmetric: Queries and gallery are the same rows in the same order.
        ks: The K that matter.
        tile: Rows and columns of a tile; None for what suits the device.
    """

    def __init__(
        self,
        similarity: Similarity,
        labels: Labels,
        itself: Tensor,
        symmetric: bool,
        ks: Sequence[int],
        tile: int | None = None,
    ) -> None:
        self.similarity, self.labels, self.itself = similarity, labels, itself
        self.symmetric, self.enough = symmetric, max(ks)
        self.scale = _GPU_SCALE if itself.is_cuda else 1
        self.tile = tile or _TILE * self.scale
        self.pieces = Pieces(self.tile, self._free_memory)
        self._height = min(self.tile, _TILE)  # of the tiles of a recount
        block = min(similarity.queries.block, similarity.gallery.block)
        self._around = max(1, block // self.tile) * self.tile  # rows that tiles share
        self.ks = torch.tensor(sorted(ks), device=itself.device)
        self._escalated = dict.fromkeys(similarity.dtypes, 0.0)
        self._room: dict[torch.dtype, Tensor] = {}

    def best_positives(self, rank: int = 0, world: int = 1) -> Tensor:
        """Find the best positive of this rank's share of the queries, exactly.

        Returns:
            Float64 (N,); -inf where there is none or another rank looks for it.
        """
        return self.pieces.run(partial(self._best_positives, rank, world))

    def survey(self, best: Tensor, rank: int = 0, world: int = 1) -> Counts:
        """Count the negatives that are surely above the best positives, and those that may be.

        Args:
            best: Exact similarity of each query's best positive, float64 (N,); -inf without one.
            rank: Which share of the tiles to count.
            world: How many shares there are.
        """
        return self.pieces.run(partial(self._survey, best, rank, world))

    def undecided(self, best: Tensor, counts: Counts) -> Tensor:
        """Find the queries for which a survey leaves open at which K they succeed."""
        # The best positive itself lies between the bounds of its query.
        doubtful = Counts(counts.above, (counts.ties - 1).clamp(min=0))
        at_best, at_worst = doubtful.buckets(self.ks)
        return ((at_best < at_worst) & (best > -torch.inf)).nonzero()[:, 0]

    def recount(self, best: Tensor, queries: Tensor, rank: int = 0, world: int = 1) -> Counts:
        """Count exactly for some queries; the others stay at 0."""
        return self.pieces.run(partial(self._recount, best, queries, rank, world))

    def _best_positives(self, rank: int, world: int) -> Tensor:
        count, height = len(self.itself), _POSITIVES[0] * self.scale
        best = torch.full((count,), -torch.inf, dtype=torch.float64, device=self.itself.device)
        width = max(1, _POSITIVES[1] // self.pieces.parts)
        strips = (slice(i, min(i + height, count)) for i in range(0, count, height))
        mine = itertools.islice(strips, rank, None, world)
        spans = [(rows, *self.labels.columns_of(rows)) for rows in mine]
        # Sets of labels meet all columns: block by block each of these is made once.
        for before in range(0, len(self.similarity.gallery), self._around):
            for rows, first, last in spans:
                end = min(last, before + self._around)
                for left in range(max(first, before), end, width):
                    self._note_best(best, rows, slice(left, min(left + width, end)))
        return best

    def _note_best(self, best: Tensor, rows: slice, columns: slice) -> None:
        """Raise the best positives of some queries to those in some columns."""
        positive = self.labels.same(rows, columns)
        self._hide_itself(positive, rows, columns, hidden=False)
        if bool(positive.any()):
            tile = self.similarity.tile(rows, columns, torch.float64)
            tile.masked_fill_(~positive, -torch.inf)
            best[rows] = torch.maximum(best[rows], tile.amax(dim=1))

    def _survey(self, best: Tensor, rank: int, world: int) -> Counts:
        dtype = self.similarity.dtypes[0]
        tiles = itertools.islice(self._tiles(), rank, None, world)
        kernel = tile_kernel(self.similarity, self.itself, best)
        if kernel is not None:
            for rows, columns in tiles:
                kernel.add(rows, columns, self.symmetric and rows != columns)
            return Counts(*kernel.counts())
        counts = Counts(torch.zeros_like(self.itself), torch.zeros_like(self.itself))
        for tile_rows, tile_columns in tiles:
            both = self.symmetric and tile_rows != tile_columns
            for rows, columns in self.pieces.of(tile_rows, tile_columns):
                sides = [numbers(rows, best), numbers(columns, best)][: 1 + both]
                if not any(self._waiting(counts, best, side).any() for side in sides):
                    continue
                tile = self._tile(rows, columns, dtype)
                if not both:  # else no row meets itself
                    self._hide_itself(tile, sides[0], columns)
                self._survey_tile(counts, best, tile, sides[0], dtype)
                if both:
                    self._survey_tile(counts, best, tile.T, sides[1], dtype)
        return counts

    def _recount(self, best: Tensor, queries: Tensor, rank: int, world: int) -> Counts:
        counts = Counts(torch.zeros_like(self.itself), torch.zeros_like(self.itself))
        width = len(self.similarity.gallery)
        blocks = [(i, j) for begin in range(0, width, self._around)
                  for i in range(0, len(queries), self._height)
                  for j in range(begin, min(begin + self._around, width), self.tile)]  # fmt: skip
        for top, left in blocks[rank::world]:
            for columns in self.pieces.cut(slice(left, min(left + self.tile, width))):
                chosen = queries[top : top + self._height]
                chosen = chosen[self._waiting(counts, best, chosen)]
                if len(chosen):
                    self._recount_tile(counts, best, chosen, columns, self._first_dtype())
        return counts

    def _tiles(self) -> Iterator[tuple[slice, slice]]:
        """Yield all tiles, block by block of rows that are held at once."""
        height, width = len(self.similarity.queries), len(self.similarity.gallery)
        for above in range(0, height, self._around):
            for before in range(above if self.symmetric else 0, width, self._around):
                for top in range(above, min(above + self._around, height), self.tile):
                    first = max(before, top) if self.symmetric else before
                    for left in range(first, min(before + self._around, width), self.tile):
                        yield (
                            slice(top, min(top + self.tile, height)),
                            slice(left, min(left + self.tile, width)),
                        )

    def _free_memory(self) -> None:
        self._room.clear()
        self.similarity.use_less_memory()

    def _tile(self, rows: Tensor | slice, columns: slice, dtype: torch.dtype) -> Tensor:
        """Compute a tile in the memory of the one before: fresh memory takes 1.5 times as long."""
        if dtype not in self._room:
            first = dtype == self.similarity.dtypes[0]  # a recount, of fewer rows, has the others
            size = self.pieces.size
            cells = size * (size if first else self._height)
            self._room[dtype] = torch.empty(cells, dtype=dtype, device=self.itself.device)
        return self.similarity.tile(rows, columns, dtype, self._room[dtype])

    def _waiting(self, counts: Counts, best: Tensor, queries: Tensor) -> Tensor:
        """Return which queries have a positive and fewer above it than the largest K."""
        return (counts.above[queries] < self.enough) & (best[queries] > -torch.inf)

    def _hide_itself(
        self, tile: Tensor, queries: Tensor | slice, columns: slice, hidden: float = -torch.inf
    ) -> None:
        own = self.itself[queries] - columns.start
        inside = ((own >= 0) & (own < tile.shape[1])).nonzero()[:, 0]
        if len(inside):
            tile[inside, own[inside]] = hidden

    def _near(
        self, counts: Counts, best: Tensor, tile: Tensor, queries: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Take the rows that have anything near their best positive; good embeddings have few."""
        low = self.similarity.bounds(best[queries], dtype)[1]
        near = reaches(tile, low) & self._waiting(counts, best, queries)
        chosen = near.nonzero()[:, 0]
        return tile[chosen], queries[chosen]

    def _survey_tile(
        self, counts: Counts, best: Tensor, tile: Tensor, queries: Tensor, dtype: torch.dtype
    ) -> None:
        part, queries = self._near(counts, best, tile, queries, dtype)
        if len(queries):
            high, low = self.similarity.bounds(best[queries], dtype)
            above = row_sums(torch.gt, part, high)
            counts.above[queries] += above
            counts.ties[queries] += row_sums(torch.ge, part, low) - above

    def _recount_tile(
        self, counts: Counts, best: Tensor, queries: Tensor, columns: slice, dtype: torch.dtype
    ) -> None:
        tile = self._tile(queries, columns, dtype)
        self._hide_itself(tile, queries, columns)
        part, queries = self._near(counts, best, tile, queries, dtype)
        if not len(queries):
            return
        high, low = self.similarity.bounds(best[queries], dtype)
        if dtype == torch.float64:
            counts.above[queries] += row_sums(torch.gt, part, high)
            ties = (part == high[:, None]).nonzero()
            self._add_pairs(counts, queries[ties[:, 0]], ties[:, 1] + columns.start, None)
            return
        above = row_sums(torch.gt, part, high)
        doubtful = row_sums(torch.ge, part, low) - above
        unclear = doubtful > 0
        dense = int(doubtful.sum()) * _DENSE > int(unclear.sum()) * part.shape[1]
        self._note(dtype, float(unclear.float().mean()) if dense else 0.0)
        if dense:
            counts.above[queries[~unclear]] += above[~unclear]
            dtypes = self.similarity.dtypes
            finer = dtypes[dtypes.index(dtype) + 1]
            self._recount_tile(counts, best, queries[unclear], columns, finer)
            return
        counts.above[queries] += above
        found = ((part >= low[:, None]) & (part <= high[:, None])).nonzero()
        self._add_pairs(counts, queries[found[:, 0]], found[:, 1] + columns.start, best)

    def _add_pairs(
        self, counts: Counts, rows: Tensor, columns: Tensor, best: Tensor | None
    ) -> None:
        """Add pairs of a query and a row of the gallery; without ``best`` they are ties."""
        negative = ~self.labels.same_pairs(rows, columns)
        rows, columns = rows[negative], columns[negative]
        if best is not None:
            difference = self.similarity.pairs(rows, columns) - best[rows]
            counts.above.index_add_(0, rows, (difference > 0).long())
            rows = rows[difference == 0]
        counts.ties.index_add_(0, rows, torch.ones_like(rows))

    def _first_dtype(self) -> torch.dtype:
        """Skip a fast product that seldom decides: many ties, collapsed embeddings."""
        return next(one for one in self.similarity.dtypes if self._escalated[one] < _OFTEN)

    def _note(self, dtype: torch.dtype, share: float) -> None:
        self._escalated[dtype] = 0.8 * self._escalated[dtype] + 0.2 * share
