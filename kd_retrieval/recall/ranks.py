"""Ranks of torch.distributed that share the work of one recall."""

from __future__ import annotations

import logging
from typing import Literal

from torch import Tensor, distributed

_LOGGER = logging.getLogger("kd_retrieval.recall")


def rank_and_world() -> tuple[int, int]:
    """Return this process's rank and the number of ranks; 0 and 1 without a process group."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def reduce_over_ranks(values: Tensor, operation: Literal["max", "sum"]) -> None:
    """Replace a tensor, in place, by its maximum or sum over all ranks.

    Args:
        values: A tensor of the same shape on every rank, on any device.
        operation: Maximum or sum.
    """
    kinds = {"max": distributed.ReduceOp.MAX, "sum": distributed.ReduceOp.SUM}
    moved = values.cuda() if distributed.get_backend() == "nccl" else values
    distributed.all_reduce(moved, kinds[operation])
    values.copy_(moved)


def warn(note: str) -> None:
    """Log a warning, on the first rank alone."""
    if rank_and_world()[0] == 0:
        _LOGGER.warning(note)
