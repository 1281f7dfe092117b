"""Gathering of samples from all ranks, with gradient, for losses that relate samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from kd_core.ranks import is_distributed
from kd_core.relations.samples import flat_rows


def gather_pair(student: Tensor, teacher: Tensor, gather: bool) -> tuple[Tensor, Tensor]:
    """Return the features of all ranks, or those of this one.

    Without a process group, and with ``gather=False``, the features are returned as they are.

    Args:
        student: Features (N, ...) of this rank.
        teacher: Features (N, ...) of this rank; no gradient flows into them.
        gather: Whether to take those of all ranks.

    Returns:
        Student and teacher; where gathered, one float32 row for each sample of all ranks, (M, D_s)
        and (M, D_t), in the order of the ranks. See :func:`gather_rows` for the gradient.

    Raises:
        ValueError: If ranks hold features of different sizes.
    """
    if not gather or not is_distributed():
        return student, teacher
    return gather_rows(flat_rows(student)), gather_rows(flat_rows(teacher.detach()))


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, with gradient to this rank's own.

    Every rank is to compute the loss of the whole batch from them. The gradient carries the factor
    world size, which DDP's mean over the ranks cancels: so training with several GPUs equals
    training with one that sees all samples. The ranks may hold different numbers of rows.

    Args:
        rows: Samples (N, D) of this rank.

    Returns:
        Samples (M, D) of all ranks, in their order; the rows themselves without a process group.

    Raises:
        ValueError: If D differs between the ranks.
    """
    if not is_distributed():
        return rows
    shape = torch.tensor(rows.shape, device=rows.device)
    shapes = [torch.empty_like(shape) for _ in range(distributed.get_world_size())]
    distributed.all_gather(shapes, shape)
    counts = [int(other[0]) for other in shapes]
    widths = {int(other[1]) for other in shapes}
    if len(widths) > 1:
        raise ValueError(
            "with gather=True the features of all ranks must have one size, but a sample has "
            f"{sorted(widths)} values. Pool them to one size (ASCKD: set side, at most the height "
            "and width of every map), or leave gather out."
        )
    joined: Tensor = _Gather.apply(rows, counts)
    return joined


class _Gather(torch.autograd.Function):
    """The rows of all ranks, in the order of the ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.rank, ctx.counts = distributed.get_rank(), counts
        padded = F.pad(rows, (0, 0, 0, max(counts) - len(rows))).contiguous()
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # Every rank computes the same loss, so the sum over ranks is a multiple of our own share.
        own = torch.split(grad, ctx.counts)[ctx.rank]
        return own * len(ctx.counts), None
