"""Ranks of a distributed run: whether there are any, means over them, what only one process can."""

from __future__ import annotations

from torch import Tensor, distributed


def is_distributed() -> bool:
    """Return whether a process group is there, of one process or more."""
    return distributed.is_available() and distributed.is_initialized()


def mean_over_ranks(values: Tensor) -> Tensor:
    """Return the mean of each value over the ranks; without a process group, the values.

    Args:
        values: Numbers of any shape, the same on all ranks, without gradient; changed in place.
    """
    if not is_distributed():
        return values
    distributed.all_reduce(values)
    return values / distributed.get_world_size()


def require_one_process(what: str, kind: str) -> None:
    """Require that no other process trains on other images.

    Args:
        what: What remembers its images, for the message.
        kind: What can be taken in its place.

    Raises:
        ValueError: If there are several processes.
    """
    if is_distributed() and distributed.get_world_size() > 1:
        raise ValueError(
            f"{what} remembers the images of one process only, but there are "
            f"{distributed.get_world_size()}. Train on one GPU, or choose another {kind}."
        )
