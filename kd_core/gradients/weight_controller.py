"""Automatic weight of one term: its measurements, and the state that a resume needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from kd_core.gradients.gradient_shares import gradients_of, trained_parameters
from kd_core.layers import LayerPath

if TYPE_CHECKING:
    from kd_core.gradients.auto_weight import AutoWeight

_SMOOTHING = 0.2  # part of a new measurement, from the fifth on
_OUTLIER = math.log(10.0)  # a weight rises by at most this factor towards a measurement
_BOUND = math.log(1e6)  # of weights, either way


class _State(NamedTuple):
    log_weight: float
    measured: int  # number of measurements
    last: int  # iteration of the last attempt


class WeightController(nn.Module):
    """The automatic weight of a term; its buffers are what a resume needs.

    Args:
        term: Name of the term, for messages.
        settings: Its settings.
        layers: The student's layers that the term compares.
        count: Number of terms that have an automatic weight.
    """

    log_weight: Tensor
    measured: Tensor
    last: Tensor

    def __init__(
        self, term: str, settings: AutoWeight, layers: Sequence[LayerPath], count: int = 1
    ) -> None:
        super().__init__()
        self.term, self.settings = term, settings
        named = settings.layer is not None
        self.layers = [LayerPath.parse(settings.layer or "")] if named else list(layers)
        self._around = not named
        self.gap = settings.interval * count  # of measurements, after the first ones
        self._cached: _State | None = _State(0.0, 0, -1)
        self.ratio: float | None = None  # term's gradient over the task's, if just measured
        self.register_buffer("log_weight", torch.zeros((), dtype=torch.float32))
        self.register_buffer("measured", torch.zeros((), dtype=torch.long))
        self.register_buffer("last", torch.full((), -1, dtype=torch.long))

    @property
    def weight(self) -> float:
        """The present weight; 0 before the first measurement."""
        state = self._state()
        return math.exp(state.log_weight) if state.measured else 0.0

    def parameters_at(self, student: nn.Module) -> list[nn.Parameter]:
        """Return the parameters whose gradients are measured.

        Raises:
            ValueError: If a layer does not exist, or nothing of it trains; names the term.
        """
        return trained_parameters(student, self.layers, f"term {self.term!r}", self._around)

    def gradients(self, student: nn.Module, loss: Tensor) -> dict[nn.Parameter, Tensor | None]:
        """Return each measured parameter and the term's gradient by it, None if there is none.

        A layer without parameters, such as a pooling of regions, may stand before those of the
        module around it: then all of the student's that the term reaches are measured.

        Args:
            student: The model that has the layers.
            loss: The term's, a scalar.

        Raises:
            ValueError: If a layer does not exist, or nothing of it trains; names the term.
        """
        found = _by_parameter(loss, self.parameters_at(student))
        if not self._around or any(one is not None for one in found.values()):
            return found
        everything = trained_parameters(student, [LayerPath("", "")], f"term {self.term!r}")
        reached = _by_parameter(loss, everything).items()
        return {item: one for item, one in reached if one is not None} or found

    def is_due(self, iteration: int) -> bool:
        """Return whether gradients are measured at an iteration."""
        state = self._state()
        if state.last < 0 or not state.measured:
            return True
        gap: int = min(self.gap, 2 ** min(state.measured, 30) // 2)
        return iteration >= state.last + gap

    def update(self, iteration: int, norm: float, task_norm: float) -> None:
        """Take a measurement into account; the weight stays where a norm is 0 or not finite.

        Args:
            iteration: When it was made.
            norm: Gradient norm of the term at weight 1.
            task_norm: Gradient norm of the task.
        """
        log_weight, measured, _ = self._state()
        self.ratio = None
        if 0 < norm < math.inf and 0 < task_norm < math.inf:
            self.ratio = norm / task_norm
            wanted = self.settings.share / (1 - self.settings.share)
            target = math.log(wanted) + math.log(task_norm) - math.log(norm)
            log_weight = _moved(log_weight, min(max(target, -_BOUND), _BOUND), measured)
            measured += 1
        self._store(_State(log_weight, measured, iteration))

    def require_reach(self, of_term: Sequence[Any], of_task: Sequence[Any], value: Tensor) -> None:
        """Require, before the first measurement, that both gradients reach the layers.

        Args:
            of_term: The term's gradient by each parameter; None where it does not depend on it.
            of_task: The task's.
            value: The loss of the term; one that is 0 and has no graph found nothing in the batch.

        Raises:
            ValueError: Names the term and the layers.
        """
        found_nothing = not value.requires_grad and value == 0
        for whose, gradients in (("its own", of_term), ("the task's", of_task)):
            lost = all(one is None for one in gradients)
            if not lost or self._state().measured or (gradients is of_term and found_nothing):
                continue
            named = ", ".join(repr(layer.text) for layer in self.layers)
            raise ValueError(
                f"the automatic weight of term {self.term!r} compares its own gradient with the "
                f"task's at the layer(s) {named}, but {whose} does not reach them. Name a layer "
                "that both reach, as in weight=AutoWeight(layer='backbone'), or fix the weight."
            )

    def _state(self) -> _State:
        if self._cached is None:  # one wait for the GPU after a resume
            self._cached = _State(float(self.log_weight), int(self.measured), int(self.last))
        return self._cached

    def _store(self, state: _State) -> None:
        rounded = float(torch.tensor(state.log_weight, dtype=torch.float32))  # as it is saved
        self._cached = state._replace(log_weight=rounded)
        for name, value in self._cached._asdict().items():
            self.get_buffer(name).fill_(value)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> WeightController:
        state = self._state()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.log_weight = self.log_weight.float()  # .half() would round it
        self._store(state)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._cached = None


def _moved(log_weight: float, target: float, measured: int) -> float:
    """Move the logarithm of a weight towards a measurement."""
    if not measured or target < log_weight - _OUTLIER:
        return target
    step = min(target - log_weight, _OUTLIER)
    return log_weight + max(1 / (measured + 1), _SMOOTHING) * step


def _by_parameter(
    loss: Tensor, parameters: list[nn.Parameter]
) -> dict[nn.Parameter, Tensor | None]:
    return dict(zip(parameters, gradients_of(loss, parameters), strict=True))
