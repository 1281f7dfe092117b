"""Checks of losses before they are logged: names, finite values, gradients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kd_core.layers import Features, LayerPath, levels_of

_CAUSES = (
    "Either all layers up to it are frozen (mmdet's frozen_stages, requires_grad=False), or it "
    "runs inside a reentrant activation checkpoint (with_cp=True), or its output is detached. "
    "Select a later layer, or one outside the checkpoint, or unfreeze it (frozen_stages=-1)"
)


class GradientMeter(Protocol):
    """Measurement of each loss's share of the gradient, :class:`kd_core.GradientShares`."""

    def due(self, iteration: int) -> bool:
        """Return whether shares are measured at an iteration."""

    def parameters(self, student: nn.Module) -> list[nn.Parameter]:
        """Return the parameters whose gradients are measured."""

    def measure(self, student: nn.Module, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each loss's share."""


def merge_losses(
    values: Mapping[str, Mapping[str, Tensor]], task: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Put the losses of all terms into one dict.

    Args:
        values: Term to its losses by their logged names.
        task: The student's own dict of losses.

    Raises:
        ValueError: If a name occurs twice, because one of the two would be lost.
    """
    merged: dict[str, Tensor] = {}
    for name, parts in values.items():
        twice = sorted(key for key in parts if key in merged or key in task)
        if twice:
            raise ValueError(
                f"every loss must have its own name, but term {name!r} would add {twice} once "
                "more. Rename the term."
            )
        merged |= parts
    return merged


class FiniteCheck:
    """Check that all losses of each step are finite, which does not wait for a GPU.

    Losses on a CPU are looked at once. Those on a GPU are copied as one tensor while the step
    continues, and looked at in the next step.

    Args:
        active: Whether to look at all.
        late: Look a step later; ``None`` for losses on a GPU alone.
    """

    def __init__(self, active: bool = True, late: bool | None = None) -> None:
        self.active, self.late = active, late
        self._waiting: tuple[_Losses, Tensor, torch.cuda.Event | None] | None = None

    def add(
        self, values: Mapping[str, Tensor], iteration: int, task: Mapping[str, Any] | None = None
    ) -> None:
        """Look at the step before, if it was not looked at, and at this one: now or later.

        Args:
            values: The terms by their logged names.
            iteration: For the message.
            task: The student's own dict of losses; a loss may be a list.

        Raises:
            FloatingPointError: If one is not finite; names each of the terms and own losses that
                are not, and the iteration.
        """
        if not self.active:
            return
        self.look()
        named = {**own_losses(task or {}), **values}
        if not named:
            return
        losses = _Losses(tuple(named), frozenset(values), iteration)
        stacked = torch.stack(list(named.values())).detach()
        if not (stacked.is_cuda if self.late is None else self.late):
            losses.require_finite(stacked)
            return
        copied = stacked.to("cpu", non_blocking=True)  # into pinned memory
        event = torch.cuda.Event() if stacked.is_cuda else None
        if event is not None:
            event.record()
        self._waiting = losses, copied, event

    def look(self) -> None:
        """Look at the last step, if that was left for later.

        Raises:
            FloatingPointError: As :meth:`add`.
        """
        if self._waiting is not None:
            losses, copied, event = self._waiting
            self._waiting = None
            if event is not None:
                event.synchronize()  # of a forward that lies a step back
            losses.require_finite(copied)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy: the last step is not its own."""
        return self.__dict__ | {"_waiting": None}


@dataclass(frozen=True)
class _Losses:
    names: tuple[str, ...]
    terms: frozenset[str]
    iteration: int

    def require_finite(self, values: Tensor) -> None:
        """Require that all values (L,) are finite; one flag, and names only where it is down."""
        if bool(torch.isfinite(values).all()):
            return
        named = dict(zip(self.names, values.tolist(), strict=True))
        lost = {name: value for name, value in named.items() if not math.isfinite(value)}
        bad = f"at iteration {self.iteration} " + ", ".join(f"{n} is {v}" for n, v in lost.items())
        if self.terms.isdisjoint(lost):
            raise FloatingPointError(
                f"every loss of the student's own must be finite, but {bad}. Lower the learning "
                "rate, clip gradients, or look for wrong annotations and non-finite images."
            )
        raise FloatingPointError(
            f"every distillation term must be finite, but {bad}. Lower the learning rate or the "
            "term's weight, add a LinearWarmup, or look for non-finite images and teacher weights."
        )


def own_losses(task: Mapping[str, Any]) -> dict[str, Tensor]:
    """Reduce each loss that a model returns to a scalar: means of a list's items are added.

    Args:
        task: Name to scalar, or to a list of them; names without "loss" are statistics.
    """
    return {
        name: torch.stack([item.float().mean() for item in _flat(value)]).sum()
        for name, value in task.items()
        if "loss" in str(name) and _flat(value)
    }


def total_loss(task: Mapping[str, Any]) -> dict[str, Tensor]:
    """Add up a student's own losses, as ``task``; nothing if it has none.

    Args:
        task: Name to scalar, or to a list of them; names without "loss" are statistics.
    """
    flat = [one for name, value in task.items() if "loss" in str(name) for one in _flat(value)]
    return {"task": torch.stack([item.float().mean() for item in flat]).sum()} if flat else {}


def require_gradients(
    what: str, layers: Mapping[str, Sequence[LayerPath]], features: Mapping[str, Features]
) -> None:
    """Require that the student's layers have a gradient.

    Without one, the layer's part of the loss is a constant, which is logged like any other. This is
    an error where no level of a role has a gradient, and a warning where only some have none:
    losses that compare levels with each other can use them.

    Args:
        what: Name of their owner, such as "term 'at'", for messages.
        layers: Role to the student's selectors.
        features: Role to the student's feature (N, ...) or list of them, before any connector.

    Raises:
        ValueError: If no level of a role has a gradient; names the layers.
    """
    for role, found in features.items():
        levels = levels_of(found)
        frozen = [level for level, one in enumerate(levels) if not one.requires_grad]
        if not frozen:
            continue
        named = ", ".join(_named(layers[role], level, len(levels)) for level in frozen)
        where = f" in the role {role!r}" if role else ""
        if len(frozen) == len(levels):
            raise ValueError(
                f"{what} cannot move the student{where}: no gradient flows into its layer(s) "
                f"{named}. {_CAUSES}, or leave {'the role' if role else 'it'} out."
            )
        warnings.warn(
            f"{what}{where} has layers that cannot move the student: no gradient flows into "
            f"{named}. {_CAUSES}.",
            stacklevel=2,
        )


def require_influence(
    what: str, features: Mapping[str, Features], values: Sequence[Tensor]
) -> bool:
    """Require that a loss depends on the student's layers, not only on a connector.

    This runs the loss and its connectors backwards once, as far as the layers.

    Args:
        what: Name of the loss's owner, such as "term 'at'", for the message.
        features: Role to the student's feature (N, ...) or list of them, before any connector.
        values: The parts of the loss, scalars.

    Returns:
        Whether this was verified: a loss that is 0 and has no graph may have found nothing in this
        batch.

    Raises:
        ValueError: If no gradient of the loss reaches one of the layers.
    """
    total = torch.stack([value.float().reshape(()) for value in values]).sum()
    if not torch.is_grad_enabled() or (not total.requires_grad and total == 0):
        return False
    levels = [
        level for found in features.values() for level in levels_of(found) if level.requires_grad
    ]
    reached: Sequence[Tensor | None] = []
    if total.requires_grad:
        reached = torch.autograd.grad(total, levels, retain_graph=True, allow_unused=True)
    if all(gradient is None for gradient in reached) and not _is_compiled(total.grad_fn):
        raise ValueError(
            f"{what} cannot move the student: its loss does not depend on the student's layers, "
            "though they have a gradient. Let the loss use them without detach() or no_grad()."
        )
    return True


def _flat(value: Any) -> list[Tensor]:
    items = value if isinstance(value, list | tuple) else [value]
    return [item for item in items if isinstance(item, Tensor)]


def _named(selectors: Sequence[LayerPath], level: int, levels: int) -> str:
    if len(selectors) == levels:
        return repr(selectors[level].text)
    text = ", ".join(selector.text for selector in selectors)
    return f"{text!r} #{level}"


def _is_compiled(node: Any) -> bool:
    """Return whether a graph has a compiled part, which hides dependencies."""
    waiting: list[Any] = [node]
    seen: set[Any] = set()
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        if "Compiled" in one.name():
            return True
        seen.add(one)
        waiting.extend(following for following, _ in one.next_functions)
    return False
