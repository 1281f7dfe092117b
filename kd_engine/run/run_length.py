"""Length of a run, for schedules in epochs or in shares of it."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import is_model_wrapper
from torch import nn

from kd_core.base_distiller import attached_distillers


class RunLengthHook(Hook):  # type: ignore[misc]
    """Hook that passes the lengths of an epoch and of the run to a model's distillers."""

    def before_train(self, runner: Any) -> None:
        """Pass the lengths on; a resumed run passes the same ones."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        set_run_length(model, len(runner.train_dataloader), runner.max_iters)


def set_run_length(model: nn.Module, epoch_length: int, total: int | None) -> None:
    """Let all distillers of a model know how many iterations an epoch and the run have."""
    for distiller in attached_distillers(model).values():
        distiller.set_run_length(epoch_length, total)


def set_training_position(iteration: int, epoch_length: int, total: int | None) -> None:
    """Say at which iteration a training is, as mmengine's RuntimeInfoHook does in a run.

    Some models ask for it: YOLOX changes the size of its images by it, TOOD its assigner, BoxInst
    the weight of a loss.

    Args:
        iteration: Number of training steps before.
        epoch_length: Iterations of an epoch.
        total: Iterations of the whole run, if known.
    """
    position = {"loop_stage": "train", "iter": iteration, "epoch": iteration // epoch_length}
    if total is not None:
        position |= {"max_iters": total, "max_epochs": -(-total // epoch_length)}
    hub = MessageHub.get_current_instance()
    for name, value in position.items():
        hub.update_info(name, value)


def planned_iterations(train_cfg: Mapping[str, Any], loader: Sized) -> int | None:
    """Return the iterations that a run's ``train_cfg`` plans, ``None`` if they are unknown.

    Args:
        train_cfg: The run's ``train_cfg``, with ``max_epochs`` or ``max_iters``.
        loader: Its data loader, with a length in iterations.
    """
    if train_cfg.get("max_epochs") is not None:
        return int(train_cfg["max_epochs"]) * len(loader)
    iterations = train_cfg.get("max_iters")
    return None if iterations is None else int(iterations)
