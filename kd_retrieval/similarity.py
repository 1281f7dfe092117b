"""Similarities that are exact, and quick ones with a bound on their error.

Rows are rounded once to a grid of 2^-26 (a 67-millionth of the unit length). Their products are
then multiples of 2^-52, and every partial sum of a scalar product fits a float64 without rounding.
So a float64 product of two such rows is *exact*, whatever the order of its sum: blocks, threads,
ranks and devices cannot change it, and a tie is a tie. Products in bfloat16 or float32 serve to
find out which pairs are clear; the others are computed exactly.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

METRICS = ("cosine", "l2", "dot")
_BITS = 26
_CHUNK = 4096  # rows that are normalised at once
_ROUNDOFF = {torch.bfloat16: 2.0**-9, torch.float32: 2.0**-24, torch.float64: 0.0}


@dataclass
class Rows:
    """Vectors on the grid.

    Attributes:
        steps: Multiples of the grid's step, int32 (N, D).
        step: The grid's step, a power of 2; norms of ``steps * step`` are at most 1.
        half: The same rows rounded to bfloat16 (N, D), where the machine multiplies those
            quickly; else None.
        squares: Squared norms for ``l2``, exact, float64 (N,); else None.
    """

    steps: Tensor
    step: float
    half: Tensor | None
    squares: Tensor | None

    def __len__(self) -> int:
        return len(self.steps)

    def at(self, rows: Tensor | slice, dtype: torch.dtype) -> Tensor:
        """Take rows (R, D) in a dtype; float64 is exact."""
        if dtype == torch.bfloat16 and self.half is not None:
            return self.half[rows]
        return self.steps[rows].to(dtype).mul_(self.step)


def grid_rows(vectors: Tensor, order: Tensor, metric: str, scale: float = 1.0) -> Rows:
    """Put vectors on the grid; under cosine they are first scaled to length 1, in float64.

    Args:
        vectors: Vectors (N, D), finite; under cosine none is zero.
        order: In which order to take them, int64 (N,).
        metric: ``cosine``, ``l2`` or ``dot``.
        scale: Under l2 and dot, the largest norm of queries and gallery: vectors are divided by
            the power of 2 above it, so the grid is relative to the largest.

    Returns:
        The rows; N x D x 6 bytes, 4 without the bfloat16 copy.
    """
    step = 2.0 ** -(_BITS - (metric == "l2"))  # l2 adds three products, so it needs one bit more
    steps = torch.empty(vectors.shape, dtype=torch.int32, device=vectors.device)
    larger: Any = 2.0 ** math.frexp(scale)[1]
    for begin in range(0, len(vectors), _CHUNK):
        part = vectors[order[begin : begin + _CHUNK]].double()
        length = norms(part)[:, None] if metric == "cosine" else larger
        steps[begin : begin + _CHUNK] = part.div_(length * step).round_().to(torch.int32)
    rows = Rows(steps, step, None, None)
    if metric == "l2":
        rows.squares = _in_chunks(rows, lambda part: part.square().sum(dim=1))
    elif fast_bfloat16(vectors.device):
        rows.half = torch.empty(vectors.shape, dtype=torch.bfloat16, device=vectors.device)
        for begin in range(0, len(vectors), _CHUNK):
            chosen = slice(begin, begin + _CHUNK)
            rows.half[chosen] = rows.at(chosen, torch.float32)
    return rows


def norms(vectors: Tensor) -> Tensor:
    """Compute norms (N,) in float64, summed in one order on every device.

    Args:
        vectors: Vectors (N, D), float64.
    """
    squares = vectors.square()
    while (width := squares.shape[1]) > 1:
        half = width // 2
        folded = squares[:, :half] + squares[:, half : 2 * half]
        squares = torch.cat([folded, squares[:, 2 * half :]], dim=1) if width % 2 else folded
    return squares[:, 0].sqrt()


class Similarity:
    """Scalar products (or negative squared distances) between rows of queries and of a gallery.

    Args:
        queries: Rows on the grid.
        gallery: Rows on the same grid.
    """

    def __init__(self, queries: Rows, gallery: Rows) -> None:
        self.queries, self.gallery = queries, gallery
        self.levels = (torch.float32, torch.float64)
        if queries.half is not None:
            self.levels = (torch.bfloat16, *self.levels)
        self._errors: dict[torch.dtype, float] = {}

    def tile(self, rows: Tensor | slice, columns: Tensor | slice, dtype: torch.dtype) -> Tensor:
        """Compute a tile (R, C); in float64 it is exact."""
        left, right = self.queries.at(rows, dtype), self.gallery.at(columns, dtype)
        tile = left @ right.T
        if self.queries.squares is not None and self.gallery.squares is not None:
            tile.mul_(2).sub_(self.queries.squares[rows, None].to(dtype))
            tile.sub_(self.gallery.squares[None, columns].to(dtype))
        return tile

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Compute the similarities (P,) of pairs exactly, in float64."""
        found = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
        chunk = max(1, 2**22 // self.queries.steps.shape[1])  # 64 MB
        for begin in range(0, len(rows), chunk):
            left, right = (part[begin : begin + chunk] for part in (rows, columns))
            products = self.queries.at(left, torch.float64)
            products.mul_(self.gallery.at(right, torch.float64))
            value = products.sum(dim=1)
            if self.queries.squares is not None and self.gallery.squares is not None:
                value.mul_(2).sub_(self.queries.squares[left]).sub_(self.gallery.squares[right])
            found[begin : begin + chunk] = value
        return found

    def bounds(self, values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Say beyond which quick values an exact one is surely above, and surely below.

        Args:
            values: Exact similarities, float64 (R,).
            dtype: The dtype of the quick ones.

        Returns:
            ``high`` and ``low`` (R,) in that dtype: a quick similarity above high means an exact
            one above the value, one below low an exact one below it.
        """
        if dtype == torch.float64:
            return values, values
        roundoff = _ROUNDOFF[dtype]
        if dtype not in self._errors:
            self._errors[dtype] = self._error(dtype)
        error = self._errors[dtype]
        error = error + 4 * roundoff * (values.abs() + error)  # of the result, and of the bounds
        high, low = (values + error).to(dtype), (values - error).to(dtype)
        return high, low

    def _error(self, dtype: torch.dtype) -> float:
        """Bound |quick - exact|, but for the rounding of the result itself."""
        size = self.queries.steps.shape[1]
        left, right = (_rounding(rows, dtype) for rows in (self.queries, self.gallery))
        # Cauchy-Schwarz on the rounding of the rows; sums are in float32, in any order.
        product = 1.01 * (left + right + left * right) + 2 * size * 2.0**-24
        if self.queries.squares is None:
            return product
        return 2 * product + 16 * _ROUNDOFF[dtype]  # two squared norms of at most 1


@lru_cache
def fast_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 products are much quicker than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in known or "amx_bf16" in known


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Have float32 products computed in float32, and bfloat16 ones summed in float32."""
    before = torch.get_float32_matmul_precision()
    matmul: Any = torch.backends.cuda.matmul
    reduced = matmul.allow_bf16_reduced_precision_reduction
    torch.set_float32_matmul_precision("highest")
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        matmul.allow_bf16_reduced_precision_reduction = reduced


def _rounding(rows: Rows, dtype: torch.dtype) -> float:
    """The largest distance between a row and itself in a dtype."""
    if rows.half is None or dtype != torch.bfloat16:
        return 1.01 * _ROUNDOFF[dtype]  # of a norm of at most 1
    largest = 0.0
    for begin in range(0, len(rows), _CHUNK):
        chosen = slice(begin, begin + _CHUNK)
        distance = (rows.at(chosen, torch.float32) - rows.half[chosen]).norm(dim=1)
        largest = max(largest, float(distance.max()))
    return 1.01 * largest + 2.0**-20


def _in_chunks(rows: Rows, function: Callable[[Tensor], Tensor]) -> Tensor:
    chunks = range(0, len(rows), _CHUNK)
    return torch.cat([function(rows.at(slice(i, i + _CHUNK), torch.float64)) for i in chunks])
