"""Automatic weights of terms: the norm of each one's gradient is steered to a wanted share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kd_core.gradients.gradient_shares import gradient_norm, gradients_of, trained_parameters
from kd_core.layers import LayerPath
from kd_core.ranks import mean_over_ranks

AUTO = "auto"
_SMOOTHING = 0.2  # part of a new measurement, from the fifth on
_OUTLIER = math.log(10.0)  # a weight rises by at most this factor towards a measurement
_BOUND = math.log(1e6)  # of weights, either way


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
            module around it that has.
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


def _moved(log_weight: float, target: float, measured: int) -> float:
    """Move the logarithm of a weight towards a measurement."""
    if not measured or target < log_weight - _OUTLIER:
        return target
    step = min(target - log_weight, _OUTLIER)
    return log_weight + max(1 / (measured + 1), _SMOOTHING) * step


def _measure(
    student: nn.Module,
    controllers: Mapping[str, WeightController],
    losses: Mapping[str, Tensor],
    task: Tensor,
) -> list[list[float]]:
    """Return the gradient norm of each term and of the task, means over the ranks."""
    wanted = {name: one.parameters_at(student) for name, one in controllers.items()}
    union = list(dict.fromkeys(item for of in wanted.values() for item in of))
    of_task = dict(zip(union, gradients_of(task, union), strict=True))  # one backward for all
    pairs = []
    for name, parameters in wanted.items():
        own = gradients_of(losses[name], parameters)
        others = [of_task[item] for item in parameters]
        controllers[name].require_reach(own, others, losses[name])
        pairs.append(torch.stack([gradient_norm(of, task) for of in (own, others)]))
    norms = mean_over_ranks(torch.stack(pairs))  # (terms, 2)
    return [list(map(float, pair)) for pair in norms.tolist()]
