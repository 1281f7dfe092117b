"""Distributed runs and mixed precision: launchers, and batch norms of several processes."""

from __future__ import annotations

import atexit

import torch
from mmengine.config import Config


def set_up_launcher(config: Config, launcher: str) -> None:
    """Set the launcher of a distributed run; without a GPU its processes talk through gloo.

    mmengine's own start and its model wrapper ask for a GPU, so on a CPU the process group is
    made here first and the wrapper is told to leave the model where it is.
    """
    config.launcher = launcher
    if launcher == "pytorch" and not torch.cuda.is_available():
        torch.distributed.init_process_group("gloo")
        atexit.register(_end_processes)  # gloo's threads may abort a process that just exits
        config.setdefault(
            "model_wrapper_cfg",
            dict(
                type="MMDistributedDataParallel",
                device_ids=None,
                broadcast_buffers=False,
                find_unused_parameters=config.get("find_unused_parameters", False),
            ),
        )


def share_statistics(config: Config) -> None:
    """Let the processes of a distributed run average their batch norms before they validate.

    Otherwise each has statistics of its own: a checkpoint then has those of one, and embeddings
    of several processes are not comparable.
    """
    hooks = config.get("custom_hooks") or []
    if config.launcher != "none" and "SyncBuffersHook" not in [hook["type"] for hook in hooks]:
        config.custom_hooks = [*hooks, dict(type="SyncBuffersHook")]


def use_mixed_precision(config: Config) -> None:
    """Train in mixed precision.

    Raises:
        ValueError: If there is no GPU: mmengine's AmpOptimWrapper requires one.
    """
    if not torch.cuda.is_available():
        raise ValueError("--amp needs a GPU, and torch sees none. Leave it out on a CPU.")
    config.optim_wrapper.type = "AmpOptimWrapper"
    config.optim_wrapper.setdefault("loss_scale", "dynamic")


def _end_processes() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
