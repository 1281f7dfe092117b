"""Similarities: exact ones, and fast approximate ones with a bound on their error.

Rows are on a grid of 2^-26 (:mod:`kd_retrieval.recall.grid`). Their products are multiples of
2^-52, and every partial sum of a scalar product fits a float64 without rounding. So a float64
product of two such rows is *exact*, whatever the order of its sum: blocks, threads, ranks and
devices cannot change it, and a tie is a tie. Products in bfloat16 or float32 serve to find out
which pairs are clear; the others are computed exactly.

Why nothing is rounded: after rounding to the grid a row's norm is at most 1 + sqrt(D) 2^-27. Any
partial sum of a scalar product, a sum over some of the D, is by Cauchy-Schwarz at most the product
of two such norms: less than 2^53 units of 2^-52 for D up to 2^50. Under l2 rows have 25 bits, so
that 2 ab - aa - bb, of at most 4 in size, has 2^52 units of 2^-50.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kd_retrieval.recall.grid import CHUNK, Rows

_ROUNDOFF = {torch.bfloat16: 2.0**-9, torch.float32: 2.0**-24, torch.float64: 0.0}


class Similarity:
    """Scalar products (or negative squared distances) between rows of queries and of a gallery.

    Args:
        queries: Rows on the grid.
        gallery: Rows on the same grid.
    """

    def __init__(self, queries: Rows, gallery: Rows) -> None:
        self.queries, self.gallery = queries, gallery
        self.dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
        self.has_half = queries.has_half and gallery.has_half
        if self.has_half and queries.squares is None:  # l2 would lose too much in bfloat16
            self.dtypes = (torch.bfloat16, *self.dtypes)
        self._errors: dict[tuple[torch.dtype, torch.dtype], float] = {}

    def use_less_memory(self) -> None:
        """Hold fewer rows at once, if not all are held."""
        for rows in {id(rows): rows for rows in (self.queries, self.gallery)}.values():
            rows.use_less_memory()

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
        chunk = max(1, 2**22 // self.queries.size)  # 64 MB
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
        last = kept or dtype
        if (dtype, last) not in self._errors:
            self._errors[dtype, last] = self._error(dtype, last)
        error = self._errors[dtype, last]
        # The approximate result was rounded to the dtype too. Rounding keeps the order, so it is
        # enough that the bounds are numbers of the dtype, not inside those computed here.
        return _rounded(values + error, last, up=True), _rounded(values - error, last, up=False)

    def _error(self, dtype: torch.dtype, last: torch.dtype) -> float:
        """Bound |approximate - exact|, without the rounding of the result itself to ``last``."""
        size = self.queries.size
        left, right = (_rounding(rows, dtype) for rows in (self.queries, self.gallery))
        # Cauchy-Schwarz on the rounding of the rows; sums are in float32, in any order. Twice what
        # rounding to nearest needs, and twice that again for matrix units, which cut off.
        terms = (4 if dtype == torch.bfloat16 else 2) * size
        product = 1.01 * (left + right + left * right) + terms * 2.0**-24
        if self.queries.squares is None:
            return product
        return 2 * product + 16 * _ROUNDOFF[last]  # two squared norms of at most 1, and two sums


def _rounded(values: Tensor, dtype: torch.dtype, up: bool) -> Tensor:
    """Round float64 values to the next number of a dtype above, or below."""
    nearest = values.to(dtype)
    inside = nearest < values if up else nearest > values  # compared in float64
    beyond = nearest.new_full((), math.inf if up else -math.inf)
    return torch.where(inside, torch.nextafter(nearest, beyond), nearest)


def _rounding(rows: Rows, dtype: torch.dtype) -> float:
    """The largest distance between a row and itself in a dtype."""
    if not rows.has_half or dtype != torch.bfloat16:
        return 1.01 * _ROUNDOFF[dtype]  # of a norm of at most 1
    largest = 0.0
    for begin in range(0, len(rows), CHUNK):
        chosen = slice(begin, min(begin + CHUNK, len(rows)))
        exact = rows.at(chosen, torch.float32)
        distance = (exact - exact.to(torch.bfloat16)).norm(dim=1)
        largest = max(largest, float(distance.max()))
    # the norms are computed in float32
    return (1.01 + rows.size * 2.0**-23) * largest + 2.0**-20
