"""Grid of embeddings: vectors scaled and rounded once, so that their products are exact.

The step is 2^-26, a 67-millionth of the unit length; why, is said in
:mod:`kd_retrieval.recall.similarity`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from kd_retrieval.recall.precision import has_fast_bfloat16

METRICS = ("cosine", "l2", "dot")
CHUNK = 4096  # rows that are normalized at once
_BITS = 26


class Rows(Protocol):
    """Rows on the grid: all of them held (:class:`GridRows`), or some (``BlockRows``).

    Attributes:
        step: The grid's step, a power of 2.
        squares: Squared norms for ``l2``, exact, float64 (N,); otherwise None.
    """

    step: float
    squares: Tensor | None

    def __len__(self) -> int: ...

    @property
    def size(self) -> int:
        """Return D."""

    @property
    def block(self) -> int:
        """Return how many rows are held at once."""

    @property
    def has_half(self) -> bool:
        """Return whether there are rows in bfloat16."""

    def at(self, rows: Tensor | slice, dtype: torch.dtype) -> Tensor:
        """Take rows (R, D) in a dtype; float64 is exact."""

    def steps_at(self, rows: Tensor | slice) -> Tensor:
        """Take rows (R, D) as multiples of the grid's step, int32."""

    def use_less_memory(self) -> None:
        """Hold fewer rows, if that is possible."""


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

    @property
    def size(self) -> int:
        """Return D."""
        return self.steps.shape[1]

    @property
    def block(self) -> int:
        """Return how many rows are held: all."""
        return len(self.steps)

    @property
    def has_half(self) -> bool:
        """Return whether there are rows in bfloat16."""
        return self.half is not None

    def steps_at(self, rows: Tensor | slice) -> Tensor:
        """Take rows (R, D) as multiples of the grid's step."""
        return self.steps[rows]

    def use_less_memory(self) -> None:
        """Do nothing: all rows are held."""

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
    steps = torch.empty(vectors.shape, dtype=torch.int32, device=vectors.device)
    for begin in range(0, len(vectors), CHUNK):
        part = vectors[order[begin : begin + CHUNK]]
        steps[begin : begin + CHUNK] = steps_of(part, metric, exponent)
    rows = GridRows(steps, step_of(metric), None, None)
    if metric == "l2":
        rows.squares = _in_chunks(rows, lambda part: part.square().sum(dim=1))
    elif has_fast_bfloat16(vectors.device):
        rows.half = torch.empty(vectors.shape, dtype=torch.bfloat16, device=vectors.device)
        for begin in range(0, len(vectors), CHUNK):
            chosen = slice(begin, begin + CHUNK)
            rows.half[chosen] = rows.at(chosen, torch.float32)
    return rows


def step_of(metric: str) -> float:
    """Return the grid's step."""
    return 2.0 ** -(_BITS - (metric == "l2"))  # l2 adds three products, so it needs one bit more


def steps_of(vectors: Tensor, metric: str, exponent: int = 0) -> Tensor:
    """Round vectors (R, D) to multiples of the grid's step, int32; each by itself."""
    part = vectors.to(torch.float64, copy=True)
    if metric == "cosine":
        part = _of_moderate_size(part) if vectors.dtype == torch.float64 else part
        part.div_(norms(part)[:, None] * step_of(metric))
    else:
        part = times_power(part, -exponent).div_(step_of(metric))
    return part.round_().to(torch.int32)


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
        for begin in range(0, len(side), CHUNK):
            part = side[begin : begin + CHUNK].double()
            if (largest := float(part.abs().max())) > 0:
                first = math.frexp(largest)[1]
                longest = float(norms(times_power(part, -first)).max())
                exponents.append(first + math.frexp(longest)[1])
    return max(exponents, default=0)


def times_power(values: Tensor, exponent: int) -> Tensor:
    """Multiply float64 values by a power of 2, in two steps: it may be beyond float64."""
    half = exponent // 2
    return values * 2.0**half * 2.0 ** (exponent - half)


def _of_moderate_size(vectors: Tensor) -> Tensor:
    """Scale rows by powers of 2 where their squares would be beyond float64."""
    largest = vectors.abs().amax(dim=1, keepdim=True)
    power = torch.ones_like(largest)
    power[largest > 2.0**400] = 2.0**-600
    power[largest < 2.0**-400] = 2.0**600
    return vectors * power


def _in_chunks(rows: GridRows, function: Callable[[Tensor], Tensor]) -> Tensor:
    chunks = range(0, len(rows), CHUNK)
    return torch.cat([function(rows.at(slice(i, i + CHUNK), torch.float64)) for i in chunks])
