"""One training step of a model on one real batch, with its losses and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner
from torch import Tensor, nn

from kd_core import GradientShares
from kd_core.base_distiller import attached_distillers
from kd_core.loss_checks import own_losses
from kd_core.table import format_table
from kd_engine.run.run_length import (
    planned_iterations,
    set_run_length,
    set_training_position,
)

_ALONE = {"num_workers": 0, "persistent_workers": False}


@dataclass(frozen=True)
class StepReport:
    """Report of one training step.

    Attributes:
        losses: Name to value of each loss that is summed.
        shares: Name to share of the gradient norm at the layer asked for.
        norm: Norm of the whole gradient.
        images: Number of images in the batch.
        iteration: Its iteration: the first at which every term counts.
    """

    losses: dict[str, float]
    shares: dict[str, float]
    norm: float
    images: int
    iteration: int = 0

    def __str__(self) -> str:
        """Return one line for each loss."""
        shares = {name: f"{share:7.2%} of the gradient" for name, share in self.shares.items()}
        lines = format_table(
            (), [(name, f"{x:10.5f}", shares.get(name, "")) for name, x in self.losses.items()]
        )
        where = f", at iteration {self.iteration}" if self.iteration else ""
        return "\n".join([*lines, f"gradient norm {self.norm:.4g} on {self.images} images{where}"])


def one_step(model: nn.Module, config: Config, layer: str | None = None) -> StepReport:
    """Run one training step without changing a weight, where every term of a distiller counts.

    Args:
        model: The model, distilled or plain; batch norms see the batch.
        config: Its config; the batch comes from ``train_dataloader``.
        layer: Where to measure each loss's share of the gradient norm.

    Returns:
        Losses and gradients.

    Raises:
        FloatingPointError: If a loss or the gradient is not finite; names which.
        ValueError: If the layer does not exist or does not train, or there is no training data.
    """
    network: Any = model
    attached = attached_distillers(model).values()

    def start() -> int:
        return max((distiller.start_iteration() for distiller in attached), default=0)

    data = next(training_batches(model, config, start))
    iteration = start()
    for distiller in attached:
        distiller.set_iteration(iteration)
    results = network(**data, mode="loss")
    losses = own_losses(results)
    _require_finite(losses)
    shares = {} if layer is None else GradientShares(layer).measure(model, losses)
    torch.stack(list(losses.values())).sum().backward()
    gradients = [item.grad for item in model.parameters() if item.grad is not None]
    norm = torch.stack([item.float().norm() for item in gradients]).norm()
    _require_finite({"the gradient": norm})
    return StepReport(
        {name: value.item() for name, value in losses.items()},
        {name: value.item() for name, value in shares.items()},
        norm.item(),
        len(data["inputs"]),
        iteration,
    )


def training_batches(
    model: nn.Module, config: Config, start: Callable[[], int] = int
) -> Iterator[dict[str, Any]]:
    """Yield a config's training batches, the same ones each time, as a training step gets them.

    Args:
        model: Their model, which is put in training mode on the machine's device.
        config: Its config, with a ``train_dataloader``.
        start: Returns the iteration of the first batch, once the length of the run is known.

    Raises:
        ValueError: If there is no training data.
    """
    if not config.get("train_dataloader"):
        raise ValueError("a training step needs a train_dataloader, but the config has none.")
    loader = Runner.build_dataloader({**config.train_dataloader, **_ALONE}, seed=0)
    network: Any = model.to(get_device())
    network.train()  # some models' train() returns nothing
    total = planned_iterations(config.get("train_cfg") or {}, loader)
    set_run_length(model, len(loader), total)
    batch = None
    for iteration, batch in enumerate(loader, start()):
        set_training_position(iteration, len(loader), total)
        yield network.data_preprocessor(batch, True)
    if batch is None:
        raise ValueError(
            "a training step needs a batch, but train_dataloader gives none. Lower its batch_size, "
            "set drop_last=False, or correct what selects from its data."
        )


def _require_finite(values: dict[str, Tensor]) -> None:
    bad = [f"{name} is {value.item()}" for name, value in values.items() if not value.isfinite()]
    if bad:
        raise FloatingPointError(
            f"every loss and the gradient must be finite, but {', '.join(bad)}. Check the images "
            "and labels (--images), the teacher's weights and the terms' weights."
        )
