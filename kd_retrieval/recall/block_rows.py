"""Rows on the grid in blocks, made again when they are needed: little memory beyond the vectors."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from kd_retrieval.recall.grid import CHUNK, step_of, steps_of
from kd_retrieval.recall.precision import has_fast_bfloat16

_NUMBERS = 2**25  # of a block: 134 MB of steps, or 67 MB in bfloat16
_ALIGNED = 8192  # rows; blocks have multiples of them, so that no tile lies in two


class BlockRows:
    """The same rows as :class:`kd_retrieval.recall.grid.GridRows`, of which two blocks stay.

    A row depends on its vector alone, so that it is the same whenever it is made. Where tiles are
    taken block by block a row of 512 numbers is made about eight times for a million rows, which
    takes a GPU a hundredth of the products' time.

    Args:
        vectors: Vectors (N, D), finite; under cosine none is zero. They are kept, not copied.
        order: In which order to take them, int64 (N,).
        metric: ``cosine``, ``l2`` or ``dot``.
        exponent: Under l2 and dot, that of ``exponent_of`` queries and gallery.
        block: Rows of a block; None for what takes 134 MB.
    """

    def __init__(
        self,
        vectors: Tensor,
        order: Tensor,
        metric: str,
        exponent: int = 0,
        block: int | None = None,
    ) -> None:
        self._vectors, self._order = vectors, order
        self._metric, self._exponent = metric, exponent
        self.size, self.step = vectors.shape[1], step_of(metric)
        self.block = block or max(1, _NUMBERS // self.size // _ALIGNED) * _ALIGNED
        self.has_half = has_fast_bfloat16(vectors.device)
        self._blocks: dict[tuple[int, torch.dtype], Tensor] = {}
        self.squares: Tensor | None = None
        if metric == "l2":
            parts = (self.at(part, torch.float64) for part in self._parts(0, len(self)))
            self.squares = torch.cat([part.square().sum(dim=1) for part in parts])

    def __len__(self) -> int:
        return len(self._vectors)

    def at(self, rows: Tensor | slice, dtype: torch.dtype) -> Tensor:
        """Take rows (R, D) in a dtype; float64 is exact."""
        if dtype == torch.bfloat16 and self.has_half:
            return self._take(rows, torch.bfloat16)
        return self.steps_at(rows).to(dtype).mul_(self.step)

    def steps_at(self, rows: Tensor | slice) -> Tensor:
        """Take rows (R, D) as multiples of the grid's step, int32."""
        return self._take(rows, torch.int32)

    def use_less_memory(self) -> None:
        """Halve the blocks."""
        self._blocks.clear()
        self.block = max(1, self.block // 2)

    def _take(self, rows: Tensor | slice, dtype: torch.dtype) -> Tensor:
        if isinstance(rows, Tensor):
            return self._made(self._order[rows], dtype)
        first, last = rows.start // self.block, (rows.stop - 1) // self.block
        if first != last:
            return self._made(self._order[rows], dtype)
        begin = first * self.block
        return self._held(first, dtype)[rows.start - begin : rows.stop - begin]

    def _held(self, number: int, dtype: torch.dtype) -> Tensor:
        """Return a block, and keep the two that were used last, of one dtype."""
        found = self._blocks.pop((number, dtype), None)
        if found is None:
            kept = [key for key in self._blocks if key[1] == dtype][-1:]
            self._blocks = {key: self._blocks[key] for key in kept}
            begin = number * self.block
            found = self._made(self._order[begin : begin + self.block], dtype)
        self._blocks[number, dtype] = found
        return found

    def _made(self, places: Tensor, dtype: torch.dtype) -> Tensor:
        """Make rows of the vectors at some places (R,)."""
        made = torch.empty(len(places), self.size, dtype=dtype, device=places.device)
        for part in self._parts(0, len(places)):
            steps = steps_of(self._vectors[places[part]], self._metric, self._exponent)
            made[part] = steps if dtype == torch.int32 else steps.float().mul_(self.step)
        return made

    def _parts(self, begin: int, end: int) -> Iterator[slice]:
        return (slice(i, min(i + CHUNK, end)) for i in range(begin, end, CHUNK))
