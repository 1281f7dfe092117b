"""Following: an earlier self of a network keeps the average, or snapshots, of its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_core.base_distiller import BaseDistiller
from kd_core.checks import check_weights


@dataclass(frozen=True)
class Following:
    """Rule by which an earlier self follows a network in training.

        before each step: earlier = m * earlier + (1 - m) * network
        or, with every=E: a copy of the network, taken anew at the start of every E-th epoch

    The first is the average of the weights over about 1 / (1 - m) steps (EMA), the second are
    snapshots. Buffers, such as batch norm's running statistics, follow as parameters do.

    Args:
        momentum: m, from 0 to below 1; not used by snapshots.
        every: Epochs between snapshots; 0 takes the average.

    Raises:
        ValueError: If a number is out of range.
    """

    momentum: float = 0.999
    every: int = 0

    def __post_init__(self) -> None:
        check_weights(momentum=self.momentum, every=self.every)
        if self.momentum >= 1:
            raise ValueError(f"momentum must be below 1, but it is {self.momentum}.")
        if self.every != int(self.every):
            raise ValueError(f"every must be a whole number of epochs, but it is {self.every}.")

    def step(
        self,
        earlier: nn.Module,
        network: nn.Module,
        iteration: int,
        epoch_length: int | None = None,
        first: bool = False,
    ) -> None:
        """Let the earlier self follow, before a training step.

        Args:
            earlier: The earlier self.
            network: The network that trains, of the same layers.
            iteration: Counted from 0; the first copies.
            epoch_length: Iterations of an epoch; only snapshots need it.
            first: Whether the earlier self has never followed, and is to become a copy.

        Raises:
            ValueError: If snapshots do not know how long an epoch is.
        """
        if self.every and epoch_length is None:
            raise ValueError(
                "snapshots need the length of an epoch, but it is not known. Call the distiller's "
                "set_run_length(epoch_length) before training (a run of kdkit train does)."
            )
        if first or not iteration or self._is_due(iteration, epoch_length or 0):
            follow(earlier, network, 0.0)
        elif not self.every:
            follow(earlier, network, self.momentum)

    def _is_due(self, iteration: int, epoch_length: int) -> bool:
        return bool(self.every) and not iteration % (int(self.every) * epoch_length)


@torch.no_grad()
def follow(earlier: nn.Module, network: nn.Module, momentum: float) -> None:
    """Replace the earlier weights by momentum * earlier + (1 - momentum) * network's.

    Args:
        earlier: A network of the same layers, which may lack some.
        network: The network that trains; its distillers do not count.
        momentum: Share of the earlier weights; 0 copies. Whole numbers are always copied.
    """
    own = _state(network)
    for name, value in _state(earlier).items():
        if value.is_floating_point():
            value.lerp_(own[name].to(value.dtype), 1 - momentum)
        else:
            value.copy_(own[name])


def live_norms(earlier: nn.Module, network: nn.Module) -> list[nn.Module]:
    """Return an earlier self's batch norms that are to run in training mode, as the network's do.

    By running statistics, its features would differ from those of the network's batches even where
    all weights are equal, and a network that follows them moves away from its own statistics:
    detectors from scratch collapsed so. Their momentum becomes 0: a batch does not change their
    running statistics.

    Args:
        earlier: The earlier self.
        network: The network that trains; a batch norm that it keeps in eval mode is not returned.
    """
    training = {name for name, module in network.named_modules() if module.training}
    found: list[nn.Module] = []
    for name, module in earlier.named_modules():
        if isinstance(module, _BatchNorm) and name in training:
            module.momentum = 0.0
            found.append(module)
    return found


def _state(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, without those of distillers."""
    distillers = tuple(
        f"{name}." for name, child in network.named_children() if isinstance(child, BaseDistiller)
    )
    named = [*network.named_parameters(), *network.named_buffers()]
    return {name: value for name, value in named if not name.startswith(distillers)}
