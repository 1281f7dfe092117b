"""Gradients of losses at a layer of the student: their norms and shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_core.layers import LayerPath, find_layer

_SCALES = (2.0**15, 2.0**7, 1.0)  # small gradients vanish in float16, large ones overflow


@dataclass(frozen=True)
class GradientShares:
    """Settings of gradient shares: each loss's share of the gradient, measured now and then.

    Args:
        layer: The student's layer whose parameters are measured, such as ``neck`` or
            ``backbone.layer4``. Only the layers from the losses down to it are run backwards.
        interval: Iterations between two measurements; each costs about one extra backward pass
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
        """Return whether shares are measured at an iteration."""
        return iteration % self.interval == 0

    def parameters(self, student: nn.Module) -> list[nn.Parameter]:
        """Return the parameters whose gradients are measured.

        Raises:
            ValueError: If the layer does not exist or trains no parameter.
        """
        return trained_parameters(student, [LayerPath.parse(self.layer)], "gradient_shares")

    def measure(self, student: nn.Module, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Divide each loss's gradient norm at the layer by the sum of all norms.

        Args:
            student: The model that has the layer.
            losses: Name to scalar loss, all of one graph, before ``backward``.

        Returns:
            Name to share between 0 and 1; the shares add up to 1 unless all are 0. Nothing if there
            is no loss.

        Raises:
            ValueError: If the layer does not exist or trains no parameter.
        """
        parameters = self.parameters(student)
        norms = {
            name: gradient_norm(gradients_of(loss, parameters), loss)
            for name, loss in losses.items()
        }
        if not norms:
            return {}
        total = torch.stack(list(norms.values())).sum().clamp_min(1e-12)
        return {name: norm / total for name, norm in norms.items()}


def trained_parameters(
    student: nn.Module, layers: Sequence[LayerPath], what: str, around: bool = False
) -> list[nn.Parameter]:
    """Return the parameters of some layers that are trained, without those of distillers.

    Args:
        student: The model that has the layers.
        layers: Which ones.
        what: Name of their owner, such as "term 'at'", for messages.
        around: Take the nearest module around a layer that has none.

    Raises:
        ValueError: If a layer does not exist or trains no parameter; names both.
    """
    found: dict[nn.Parameter, None] = {}
    for layer in layers:
        find_layer(student, layer, "student")
        path = layer.module
        own = _trained_at(student, layer)
        while around and not own and path:
            path = path.rpartition(".")[0]
            own = _trained_at(student, LayerPath(path, path))
        if not own:
            raise ValueError(
                f"{what} needs a layer that trains, but {layer.text!r} has no trainable "
                "parameter. Name a later layer."
            )
        found |= dict.fromkeys(own)
    return list(found)


def gradients_of(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradients of a loss before ``backward``, in float32; the graph stays.

    Args:
        loss: A scalar.
        parameters: By which.

    Returns:
        One of each parameter; ``None`` where the loss does not depend on it.
    """
    result: list[Tensor | None] = [None] * len(parameters)
    if not loss.requires_grad:
        return result
    for scale in _SCALES:
        found = torch.autograd.grad(
            loss * scale, list(parameters), retain_graph=True, allow_unused=True
        )
        result = [None if one is None else one.float() / scale for one in found]
        if bool(torch.isfinite(gradient_norm(result, loss))):
            break
    return result


def gradient_norm(gradients: Sequence[Tensor | None], like: Tensor) -> Tensor:
    """Return the norm of all gradients together, 0 if there are none.

    Args:
        gradients: As :func:`gradients_of` returns them.
        like: A tensor on the device of the result.
    """
    squares = [item.square().sum() for item in gradients if item is not None]
    zero = torch.zeros((), dtype=torch.float32, device=like.device)
    return torch.stack(squares).sum().sqrt() if squares else zero


def _trained_at(student: nn.Module, layer: LayerPath) -> list[nn.Parameter]:
    whole = find_layer(student, layer, "student")
    distillers = ("distiller.", "distiller_") if whole is student else ()
    named = whole.named_parameters()
    return [one for name, one in named if one.requires_grad and not name.startswith(distillers)]
