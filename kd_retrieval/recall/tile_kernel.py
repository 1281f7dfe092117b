"""Triton kernel that counts the products of a tile while they are in registers.

A product of two bfloat16 numbers has 16 bits and is exact in float32. The kernel adds D of them in
float32, in blocks and in an order of the hardware's choosing; zeros that fill up a block change
nothing. So the sum that is compared differs from the exact similarity by at most the error of
:meth:`Similarity.bounds` for bfloat16, whose proof is for sums in any order and for matrix units
that cut off. The sum is not rounded to bfloat16 before it is compared; the bounds are numbers of
float32, rounded away from the value, which leaves what is surely above surely above.

Under l2 the kernel compares 2 ab - aa - bb. Doubling is exact. The squared norms, at most 1 but for
the grid's rounding, are rounded to float32, within 2^-24 each; the two differences are at most 4 in
size and rounded within 2^-23 each (a fused multiply-add rounds once less). That is 6 x 2^-24 in
all, and :meth:`Similarity.bounds` has 16 x 2^-24 for it, besides twice the error of the product.

Importing this needs the package triton, which comes with torch's CUDA builds. With
``TRITON_INTERPRET=1`` in the environment before that it runs on a CPU, slowly, with the bfloat16
numbers in float32, since triton's interpreter multiplies the bits of bfloat16 as integers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kd_retrieval.recall.similarity import Similarity

_BLOCK = (128, 128, 64)  # rows, columns and dimensions
_TRIAL = 256  # rows and columns that are compared with exact similarities before the first use


class TileKernel:
    """Counter of tiles of bfloat16 products, which are not written to memory.

    Args:
        similarity: Queries and gallery, with bfloat16 rows.
        itself: Row of the gallery that is the query itself, int64 (N,); -1 for none.
        best: Exact similarity of each query's best positive, float64 (N,); -inf without one.
        block: Rows, columns and dimensions that a program multiplies at once, powers of 2 of at
            least 16.
    """

    def __init__(
        self,
        similarity: Similarity,
        itself: Tensor,
        best: Tensor,
        block: tuple[int, int, int] = _BLOCK,
    ) -> None:
        self._similarity, self._best = similarity, best
        squares = similarity.queries.squares, similarity.gallery.squares
        self._squares = None
        if squares[0] is not None and squares[1] is not None:
            self._squares = squares[0].float(), squares[1].float()
        self._itself, self._block = itself, block
        high, low = similarity.bounds(best, torch.bfloat16, kept=torch.float32)
        none = best == -torch.inf  # nothing is above infinity
        self._high, self._low = (one.masked_fill(none, torch.inf) for one in (high, low))
        self._above = torch.zeros(len(best), dtype=torch.int32, device=best.device)
        self._near = torch.zeros_like(self._above)

    def try_out(self) -> None:
        """Build the kernel, compare a tile of it with exact similarities, and keep no count.

        Raises:
            ArithmeticError: If a count of the tile is wrong on this device.
            Exception: Of many kinds, where triton cannot: it needs a C compiler, for example.
        """
        sides = self._similarity.queries, self._similarity.gallery
        rows, columns = (slice(0, min(_TRIAL, len(one), one.block)) for one in sides)
        self.add(rows, columns, both=False)
        exact = self._similarity.tile(rows, columns, torch.float64)
        number = torch.arange(columns.stop, device=exact.device)
        exact.masked_fill_(self._itself[rows, None] == number, -torch.inf)
        best = self._best[rows, None].masked_fill(self._best[rows, None] == -torch.inf, torch.inf)
        above, near = self._above[rows], self._near[rows]
        wrong = (above > (exact > best).sum(1)) | (near < (exact >= best).sum(1))
        if bool(wrong.any()):
            raise ArithmeticError(
                f"the kernel must count what exact similarities show, but does not in "
                f"{int(wrong.sum())} of {rows.stop} rows on {exact.device}"
            )
        self.add(slice(0, 1), slice(0, 1), both=True)
        self._above.zero_()
        self._near.zero_()

    def add(self, rows: slice, columns: slice, both: bool) -> None:
        """Count a tile for the queries of its rows; with ``both`` also for those of its columns."""
        left = self._similarity.queries.at(rows, torch.bfloat16)
        right = self._similarity.gallery.at(columns, torch.bfloat16)
        squares = self._squares or (self._high, self._high)  # which are not read
        height, width, depth = self._block
        grid = (
            triton.cdiv(rows.stop - rows.start, height),
            triton.cdiv(columns.stop - columns.start, width),
        )
        with torch.cuda.device_of(left):
            _count_tile[grid](
                left, right, *squares, self._high, self._low, self._itself,
                self._above, self._near, rows.start, rows.stop, columns.start, columns.stop,
                SIZE=left.shape[1], SQUARES=self._squares is not None,
                BOTH=both, WIDEN=not left.is_cuda,
                HEIGHT=height, WIDTH=width, DEPTH=depth, num_warps=8,
            )  # fmt: skip

    def counts(self) -> tuple[Tensor, Tensor]:
        """Return what is surely above each best positive, and what may be, int64 (N,) each."""
        return self._above.long(), (self._near - self._above).long()


@triton.jit(do_not_specialize=["first_row", "last_row", "first_column", "last_column"])  # type: ignore[untyped-decorator]
def _count_tile(  # type: ignore[no-untyped-def]  # triton evaluates annotations
    queries,
    gallery,
    query_squares,
    gallery_squares,
    high,
    low,
    itself,
    above,
    near,
    first_row,
    last_row,
    first_column,
    last_column,
    SIZE: tl.constexpr,
    SQUARES: tl.constexpr,
    BOTH: tl.constexpr,
    WIDEN: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Multiply a block, and add to the counts of its rows, and of its columns.

    ``queries`` and ``gallery`` begin with the tile's first row and column; the others are whole.
    """
    row = first_row + tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)
    column = first_column + tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    is_row, is_column = row < last_row, column < last_column
    products = tl.zeros((HEIGHT, WIDTH), dtype=tl.float32)
    for begin in range(0, SIZE, DEPTH):
        place = begin + tl.arange(0, DEPTH)
        inside = place < SIZE
        left = tl.load(
            queries + (row - first_row).to(tl.int64)[:, None] * SIZE + place[None, :],
            mask=is_row[:, None] & inside[None, :],
            other=0.0,
        )
        right = tl.load(
            gallery + (column - first_column).to(tl.int64)[None, :] * SIZE + place[:, None],
            mask=is_column[None, :] & inside[:, None],
            other=0.0,
        )
        if WIDEN:
            left, right = left.to(tl.float32), right.to(tl.float32)
        products = tl.dot(left, right, products, input_precision="ieee")
    if SQUARES:
        left_squares = tl.load(query_squares + row, mask=is_row, other=0.0)
        right_squares = tl.load(gallery_squares + column, mask=is_column, other=0.0)
        products = 2.0 * products - left_squares[:, None] - right_squares[None, :]
    own = tl.load(itself + row, mask=is_row, other=-1)
    counted = is_row[:, None] & is_column[None, :] & (own[:, None] != column[None, :])
    products = tl.where(counted, products, float("-inf"))
    bound = tl.load(high + row, mask=is_row, other=float("inf"))
    found = tl.sum((products > bound[:, None]).to(tl.int32), axis=1)
    tl.atomic_add(above + row, found, mask=is_row & (found > 0))
    bound = tl.load(low + row, mask=is_row, other=float("inf"))
    found = tl.sum((products >= bound[:, None]).to(tl.int32), axis=1)
    tl.atomic_add(near + row, found, mask=is_row & (found > 0))
    if BOTH:
        bound = tl.load(high + column, mask=is_column, other=float("inf"))
        found = tl.sum((products > bound[None, :]).to(tl.int32), axis=0)
        tl.atomic_add(above + column, found, mask=is_column & (found > 0))
        bound = tl.load(low + column, mask=is_column, other=float("inf"))
        found = tl.sum((products >= bound[None, :]).to(tl.int32), axis=0)
        tl.atomic_add(near + column, found, mask=is_column & (found > 0))
