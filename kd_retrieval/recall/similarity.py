"""Similarities: exact ones, and fast approximate ones with a bound on their error.

Rows are rounded once to a grid of 2^-26 (a 67-millionth of the unit length). Their products are
then multiples of 2^-52, and every partial sum of a scalar product fits a float64 without rounding.
So a float64 product of two such rows is *exact*, whatever the order of its sum: blocks, threads,
ranks and devices cannot change it, and a tie is a tie. Products in bfloat16 or float32 serve to
find out which pairs are clear; the others are computed exactly.

Why nothing is rounded: after rounding to the grid a row's norm is at most 1 + sqrt(D) 2^-27. Any
partial sum of a scalar product, a sum over some of the D, is by Cauchy-Schwarz at most the product
of two such norms: less than 2^53 units of 2^-52 for D up to 2^50. Under l2 rows have 25 bits, so
that 2 ab - aa - bb, of at most 4 in size, has 2^52 units of 2^-50.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_retrieval.recall.precision import has_fast_bfloat16

METRICS = ("cosine", "l2", "dot")
_BITS = 26
_CHUNK = 4096  # rows that are normalized at once
_ROUNDOFF = {torch.bfloat16: 2.0**-9, torch.float32: 2.0**-24, torch.float64: 0.0}


@dataclass
class GridRows:
    """Vectors on the grid.

    Attributes:
        steps: Multiples of the grid's step, int32 (N, D).
        step: The grid's step, a power of 2; norms of ``steps * step`` are at most 1, but for the
            rounding.
        half: The same rows rounded to bfloat16 (N, D), where the machine multiplies those fast;
            otherwise None.
        squares: Squared norms for ``l2``, exact, float64 (N,); otherwise None.
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


def grid_rows(vectors: Tensor, order: Tensor, metric: str, exponent: int = 0) -> GridRows:
    """Put vectors on the grid; under cosine they are first scaled to length 1, in float64.

    Args:
        vectors: Vectors (N, D), finite; under cosine none is zero.
        order: In which order to take them, int64 (N,).
        metric: ``cosine``, ``l2`` or ``dot``.
        exponent: Under l2 and dot, that of :func:`exponent_of` queries and gallery: vectors are
            divided by this power of 2, so the grid is relative to the longest.

    Returns:
        The rows; N x D x 6 bytes, 4 without the bfloat16 copy.
    """
    step = 2.0 ** -(_BITS - (metric == "l2"))  # l2 adds three products, so it needs one bit more
    steps = torch.empty(vectors.shape, dtype=torch.int32, device=vectors.device)
    for begin in range(0, len(vectors), _CHUNK):
        part = vectors[order[begin : begin + _CHUNK]].double()
        if metric == "cosine":
            part = _of_moderate_size(part) if vectors.dtype == torch.float64 else part
            part.div_(norms(part)[:, None] * step)
        else:
            part = times_power(part, -exponent).div_(step)
        steps[begin : begin + _CHUNK] = part.round_().to(torch.int32)
    rows = GridRows(steps, step, None, None)
    if metric == "l2":
        rows.squares = _in_chunks(rows, lambda part: part.square().sum(dim=1))
    elif has_fast_bfloat16(vectors.device):
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


def exponent_of(*sides: Tensor) -> int:
    """Find the power of 2 above the longest of all vectors; 0 if all are zero.

    Args:
        sides: Vectors (N, D), finite, of any size: norms that no float64 can hold, too.
    """
    exponents = []
    for side in sides:
        for begin in range(0, len(side), _CHUNK):
            part = side[begin : begin + _CHUNK].double()
            if (largest := float(part.abs().max())) > 0:
                first = math.frexp(largest)[1]
                longest = float(norms(times_power(part, -first)).max())
                exponents.append(first + math.frexp(longest)[1])
    return max(exponents, default=0)


def times_power(values: Tensor, exponent: int) -> Tensor:
    """Multiply float64 values by a power of 2, in two steps: it may be beyond float64."""
    half = exponent // 2
    return values * 2.0**half * 2.0 ** (exponent - half)


class Similarity:
    """Scalar products (or negative squared distances) between rows of queries and of a gallery.

    Args:
        queries: Rows on the grid.
        gallery: Rows on the same grid.
    """

    def __init__(self, queries: GridRows, gallery: GridRows) -> None:
        self.queries, self.gallery = queries, gallery
        self.dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
        if queries.half is not None and gallery.half is not None:
            self.dtypes = (torch.bfloat16, *self.dtypes)
        self._errors: dict[torch.dtype, float] = {}

    def tile(
        self,
        rows: Tensor | slice,
        columns: Tensor | slice,
        dtype: torch.dtype,
        room: Tensor | None = None,
    ) -> Tensor:
        """Compute a tile (R, C); in float64 it is exact.

        Args:
            rows: Rows of the queries.
            columns: Rows of the gallery.
            dtype: That of the tile.
            room: Memory of that dtype to use, at least R x C numbers.
        """
        left, right = self.queries.at(rows, dtype), self.gallery.at(columns, dtype)
        shape = len(left), len(right)
        out = None if room is None else room[: shape[0] * shape[1]].view(shape)
        tile = torch.mm(left, right.T, out=out)
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

    def bounds(
        self, values: Tensor, dtype: torch.dtype, kept: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the approximate values above or below which an exact one surely is, too.

        Args:
            values: Exact similarities, float64 (R,).
            dtype: The dtype of the approximate values.
            kept: That of their sums, where these are not rounded to ``dtype`` at the end.

        Returns:
            ``high`` and ``low`` (R,) in the last of these: an approximate similarity above high
            means an exact one above the value, one below low an exact one below it.
        """
        if dtype == torch.float64:
            return values, values
        if dtype not in self._errors:
            self._errors[dtype] = self._error(dtype)
        error = self._errors[dtype]
        # The approximate result was rounded to the dtype too. Rounding keeps the order, so it is
        # enough that the bounds are numbers of the dtype, not inside those computed here.
        last = kept or dtype
        return _rounded(values + error, last, up=True), _rounded(values - error, last, up=False)

    def _error(self, dtype: torch.dtype) -> float:
        """Bound |approximate - exact|, without the rounding of the result itself."""
        size = self.queries.steps.shape[1]
        left, right = (_rounding(rows, dtype) for rows in (self.queries, self.gallery))
        # Cauchy-Schwarz on the rounding of the rows; sums are in float32, in any order. Twice what
        # rounding to nearest needs, and twice that again for matrix units, which cut off.
        terms = (4 if dtype == torch.bfloat16 else 2) * size
        product = 1.01 * (left + right + left * right) + terms * 2.0**-24
        if self.queries.squares is None:
            return product
        return 2 * product + 16 * _ROUNDOFF[dtype]  # two squared norms of at most 1, and two sums


def _of_moderate_size(vectors: Tensor) -> Tensor:
    """Scale rows by powers of 2 where their squares would be beyond float64."""
    largest = vectors.abs().amax(dim=1, keepdim=True)
    power = torch.ones_like(largest)
    power[largest > 2.0**400] = 2.0**-600
    power[largest < 2.0**-400] = 2.0**600
    return vectors * power


def _rounded(values: Tensor, dtype: torch.dtype, up: bool) -> Tensor:
    """Round float64 values to the next number of a dtype above, or below."""
    nearest = values.to(dtype)
    inside = nearest < values if up else nearest > values  # compared in float64
    beyond = nearest.new_full((), math.inf if up else -math.inf)
    return torch.where(inside, torch.nextafter(nearest, beyond), nearest)


def _rounding(rows: GridRows, dtype: torch.dtype) -> float:
    """The largest distance between a row and itself in a dtype."""
    if rows.half is None or dtype != torch.bfloat16:
        return 1.01 * _ROUNDOFF[dtype]  # of a norm of at most 1
    largest = 0.0
    for begin in range(0, len(rows), _CHUNK):
        chosen = slice(begin, begin + _CHUNK)
        distance = (rows.at(chosen, torch.float32) - rows.half[chosen]).norm(dim=1)
        largest = max(largest, float(distance.max()))
    size = rows.steps.shape[1]  # the norms are computed in float32
    return (1.01 + size * 2.0**-23) * largest + 2.0**-20


def _in_chunks(rows: GridRows, function: Callable[[Tensor], Tensor]) -> Tensor:
    chunks = range(0, len(rows), _CHUNK)
    return torch.cat([function(rows.at(slice(i, i + _CHUNK), torch.float64)) for i in chunks])
