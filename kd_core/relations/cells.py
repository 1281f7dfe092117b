"""Means of a map over cells of unequal height, read in the map's own precision.

F.adaptive_avg_pool2d in float32 needs a float32 copy of a half-precision map, and its gradient a
second one. Here cells are summed in float32 while the map is read, and the gradient is written in
the map's precision: besides it, nothing larger than a cell's rows is held (a GPU's kernels convert
what they read; a CPU's convert the rows of one cell at a time).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def row_means(feature: Tensor, count: int) -> Tensor:
    """Mean over the rows of each cell, as F.adaptive_avg_pool2d divides the height into cells.

    Args:
        feature: Feature map (N, C, H, W).
        count: Number of cells P, from 1 to H.

    Returns:
        Map (N, C, P, W) in float32. Its gradient cannot be differentiated again.
    """
    found: Tensor = _RowMeans.apply(feature, count)
    return found


def cell_bounds(length: int, count: int) -> list[tuple[int, int]]:
    """First row of each cell, and the row after its last; neighbors may share a row.

    Args:
        length: Number of rows.
        count: Number of cells, at most ``length``: so no row is in more than two of them.
    """
    return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


class _RowMeans(torch.autograd.Function):
    """Cells of equal offsets, one in each of gcd(H, P) groups of rows, are summed by one call."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, count: int) -> Tensor:
        """Return the means (N, C, P, W) of a map (N, C, H, W), in float32."""
        groups = math.gcd(feature.shape[2], count)
        grouped = feature.unflatten(2, (groups, -1))  # (N, C, groups, H / groups, W)
        ctx.save_for_backward(feature)  # for its layout; it is alive anyway
        ctx.bounds = cell_bounds(grouped.shape[3], count // groups)
        means = [
            grouped[:, :, :, begin:end].sum(dim=3, dtype=torch.float32).div_(end - begin)
            for begin, end in ctx.bounds
        ]
        return torch.stack(means, dim=3).flatten(2, 3)  # (N, C, P, W)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Return the gradient by the map, in its precision and layout."""
        (feature,) = ctx.saved_tensors
        gradient = torch.empty_like(feature)
        size = (grad.shape[2] // len(ctx.bounds), -1)
        rows, cells = gradient.unflatten(2, size), grad.unflatten(2, size)
        before, covered = grad, 0
        for number, (begin, end) in enumerate(ctx.bounds):
            own = cells[:, :, :, number] / (end - begin)  # (N, C, groups, W)
            rows[:, :, :, begin:end] = own.unsqueeze(3)
            if begin < covered:  # the first row is the last of the cell before, too
                rows[:, :, :, begin] = own + before
            before, covered = own, end
        return gradient, None
