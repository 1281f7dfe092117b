"""Length of a run, for schedules in epochs or in shares of it."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from mmengine.hooks import Hook
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
