"""Automatic weights of terms: the norm of each one's gradient is steered to a wanted share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.gradients.gradient_shares import gradient_norm, gradients_of
from kd_core.gradients.weight_controller import WeightController
from kd_core.layers import LayerPath
from kd_core.ranks import mean_over_ranks

AUTO = "auto"


@dataclass(frozen=True)
class AutoWeight:
    """Settings of an automatic weight: the term's gradient is steered to a share of both.

        share = weight * |term's gradient| / (weight * |term's gradient| + |task's gradient|)

    So 0.75, the default, makes the term's three times the task's, whatever other terms there are.
    The gradients are those by the parameters of the student's layers that the term compares, or of
    one named layer; with several processes the norms are means. They are measured in the steps 0,
    1, 3, 7, 15, ... of the term, until the gaps have grown to the interval. The logarithm of the
    weight is a running mean: of all measurements at first, later each one counts a fifth. A
    measurement far above the weight counts as ten times the weight; one more than ten times below
    it counts at once. Weights stay between 1e-6 and 1e6. Where one of the two gradients is zero,
    the weight stays as it is.

    Args:
        share: Wanted share of the gradient, between 0 and 1.
        layer: The student's layer whose parameters are measured, such as ``neck``; ``None`` takes
            the layers that the term compares, where one has no trained parameters the nearest
            module around it that has; if the term reaches none of these, all that it reaches.
        interval: Iterations between two measurements, for each term that has an automatic weight:
            with two of them twice as many.

    Raises:
        ValueError: If the share is not between 0 and 1, or ``interval`` is below 1.
    """

    share: float = 0.75
    layer: str | None = None
    interval: int = 50

    def __post_init__(self) -> None:
        if not isinstance(self.share, int | float) or not 0 < self.share < 1:
            raise ValueError(
                "share must be above 0 and below 1 (the term's gradient norm over the sum of its "
                f"own and the task's), but it is {self.share!r}."
            )
        if not self.interval >= 1:
            raise ValueError(f"interval must be at least 1, but it is {self.interval}.")

    def of_terms(self, terms: Mapping[str, tuple[AutoWeight, Sequence[LayerPath]]]) -> AutoWeights:
        """Return the automatic weights of all terms that have one; see :class:`AutoWeights`."""
        return AutoWeights(terms)


def auto_weight_of(weight: Any, share: float | None) -> AutoWeight | None:
    """Return the settings of a term's weight and share; ``None`` if the weight is a number.

    Raises:
        ValueError: If the weight is another text, or there is a share without "auto".
    """
    if isinstance(weight, str) and weight == AUTO:
        return AutoWeight() if share is None else AutoWeight(share)
    if isinstance(weight, str):
        raise ValueError(f"weight must be a number or {AUTO!r}, but it is {weight!r}.")
    if share is not None:
        raise ValueError(
            f"a share belongs to weight={AUTO!r}, but weight is {weight!r} and share {share!r}. "
            "Leave one of them out."
        )
    return weight if isinstance(weight, AutoWeight) else None


class AutoWeights(nn.ModuleDict):
    """The automatic weights of a distiller's terms, saved as ``<term>.log_weight`` and so on.

    Args:
        terms: Name to the settings, and the student's layers that the term compares.
    """

    def __init__(self, terms: Mapping[str, tuple[AutoWeight, Sequence[LayerPath]]]) -> None:
        super().__init__()
        for name, (settings, layers) in terms.items():
            self[name] = WeightController(name, settings, layers, len(terms))

    def controllers(self) -> Iterator[tuple[str, WeightController]]:
        """Yield each."""
        for name, controller in self.items():
            assert isinstance(controller, WeightController)
            yield name, controller

    def prepare(self, student: nn.Module) -> None:
        """Check the layers, and move to the student's device.

        Raises:
            ValueError: If a layer does not exist, or nothing of it trains; names the term.
        """
        for _, controller in self.controllers():
            parameters = controller.parameters_at(student)
            controller.to(parameters[0].device)  # DDP wants all buffers in one place

    def weigh(
        self,
        student: nn.Module,
        iteration: int,
        losses: Mapping[str, Mapping[str, Tensor]],
        task: Any,
    ) -> dict[str, float]:
        """Return the weights of terms, measured before if it is time.

        Args:
            student: The model that has the layers.
            iteration: Counted from 0.
            losses: Name of each active term to the parts of its loss at weight 1, scalars.
            task: The task's loss, a scalar; ``None`` if it is not known.

        Raises:
            ValueError: If the task's loss is needed and not known, or a gradient does not reach
                the layers.
        """
        active = {name: one for name, one in self.controllers() if name in losses}
        if any(controller.is_due(iteration) for controller in active.values()):
            if task is None:
                raise ValueError(
                    f"the automatic weight of term {next(iter(active))!r} needs the student's own "
                    "loss, but its forward returns none. Give it: losses(task_loss=loss)."
                )
            totals = {name: torch.stack(list(losses[name].values())).sum() for name in active}
            norms_of = _measure(student, active, totals, task)
            for controller, norms in zip(active.values(), norms_of, strict=True):
                controller.update(iteration, *norms)
        return {name: controller.weight for name, controller in active.items()}


def _measure(
    student: nn.Module,
    controllers: Mapping[str, WeightController],
    losses: Mapping[str, Tensor],
    task: Tensor,
) -> list[list[float]]:
    """Return the gradient norm of each term and of the task, means over the ranks."""
    of_terms = {name: one.gradients(student, losses[name]) for name, one in controllers.items()}
    union = list(dict.fromkeys(item for of in of_terms.values() for item in of))
    of_task = dict(zip(union, gradients_of(task, union), strict=True))  # one backward for all
    pairs = []
    for name, gradients in of_terms.items():
        own, others = list(gradients.values()), [of_task[item] for item in gradients]
        controllers[name].require_reach(own, others, losses[name])
        pairs.append(torch.stack([gradient_norm(of, task) for of in (own, others)]))
    norms = mean_over_ranks(torch.stack(pairs))  # (terms, 2)
    return [list(map(float, pair)) for pair in norms.tolist()]
