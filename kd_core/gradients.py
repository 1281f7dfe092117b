"""How strongly each loss pulls at the layers that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_core.layers import LayerPath, find_layer


@dataclass(frozen=True)
class GradientShares:
    """Ask for the share of each loss in the gradient, now and then.

    Args:
        layer: The student's layer whose parameters are looked at, such as ``neck`` or
            ``backbone.layer4``. Only the layers from the losses down to it are run backwards.
        interval: Iterations between two looks; each costs about one extra backward pass
            through the heads and the layer.

    Raises:
        ValueError: If ``interval`` is below 1.
    """

    layer: str
    interval: int = 50

    def __post_init__(self) -> None:
        if not self.interval >= 1:
            raise ValueError(f"interval must be at least 1, but it is {self.interval}.")

    def due(self, iteration: int) -> bool:
        """Tell whether an iteration is one of those looked at."""
        return iteration % self.interval == 0

    def parameters(self, student: nn.Module) -> list[nn.Parameter]:
        """Return the parameters that are looked at.

        Raises:
            ValueError: If the layer does not exist or trains no parameter.
        """
        layer = find_layer(student, LayerPath.parse(self.layer), "student")
        parameters = [item for item in layer.parameters() if item.requires_grad]
        if not parameters:
            raise ValueError(
                f"gradient shares need a layer that trains, but {self.layer!r} has no trainable "
                "parameter. Name a later layer."
            )
        return parameters

    def measure(self, student: nn.Module, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Divide each loss's gradient norm at the layer by the sum of all norms.

        Args:
            student: The model that has the layer.
            losses: Name to scalar loss, all of one graph, before ``backward``.

        Returns:
            Name to share between 0 and 1; the shares add up to 1 unless all are 0.

        Raises:
            ValueError: If the layer does not exist or trains no parameter.
        """
        parameters = self.parameters(student)
        norms = {name: _norm(loss, parameters) for name, loss in losses.items()}
        total = torch.stack(list(norms.values())).sum().clamp_min(1e-12)
        return {name: norm / total for name, norm in norms.items()}


def _norm(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    if not loss.requires_grad:
        return loss.new_zeros((), dtype=torch.float32)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    squares = [item.float().square().sum() for item in gradients if item is not None]
    return torch.stack(squares).sum().sqrt() if squares else loss.new_zeros((), dtype=torch.float32)
