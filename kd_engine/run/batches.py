"""Check that a training data loader yields any batch at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size

_COUNTED = ("DefaultSampler", "AspectRatioBatchSampler", "BatchSampler")


def check_batches(loader: Mapping[str, Any], images: int) -> None:
    """Refuse a loader whose epochs have no batch: the run would end without having trained.

    Args:
        loader: Config of a training data loader.
        images: Length of its dataset.

    Raises:
        ValueError: If there is no image, or ``drop_last`` leaves out the only batch.
    """
    if images == 0:
        raise ValueError(
            "training needs images, but train_dataloader.dataset has none. Complete the data, or "
            "correct what selects from it (filter_cfg, indices, split)."
        )
    grouping = loader.get("batch_sampler") or {}
    samplers = [one.get("type") for one in (loader.get("sampler") or {}, grouping)]
    size = loader.get("batch_size")
    drops = loader.get("drop_last") or grouping.get("drop_last")
    counted = all(name is None or str(name).split(".")[-1] in _COUNTED for name in samplers)
    if not (drops and counted and isinstance(size, int)):
        return
    processes = get_world_size()
    share = -(-images // processes)  # DefaultSampler rounds up
    if share < size:
        among = f" for each of {processes} processes" if processes > 1 else ""
        raise ValueError(
            f"an epoch must have a whole batch, because train_dataloader has drop_last=True, but "
            f"batch_size is {size} and there are {share} images{among}: nothing would be trained. "
            "Lower batch_size, or set drop_last=False."
        )
