"""Whether a term can move the student: its layers must have a gradient to give."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kd_core.layers import LayerPath
from kd_core.term import Features

_CAUSES = (
    "Either all layers up to it are frozen (mmdet's frozen_stages, requires_grad=False), or it "
    "runs inside a reentrant activation checkpoint (with_cp=True), or its output is detached. "
    "Select a later layer, or one outside the checkpoint, or unfreeze it (frozen_stages=-1)"
)


def require_gradients(
    what: str, layers: Mapping[str, Sequence[LayerPath]], features: Mapping[str, Features]
) -> None:
    """Require that the student's layers have a gradient.

    A layer without one makes a constant of its part of the loss, which is logged as any other. It
    is an error where no level of a role has a gradient, and a warning where only some have none:
    losses that compare levels with each other can use them.

    Args:
        what: Whose layers these are, such as "term 'at'", for messages.
        layers: Role to the student's selectors.
        features: Role to the student's feature (N, ...) or list of them, before any connector.

    Raises:
        ValueError: If no level of a role has a gradient; names the layers.
    """
    for role, found in features.items():
        levels = found if isinstance(found, list) else [found]
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
    """Require that a loss depends on the student's layers, and not on a connector alone.

    This runs the loss and its connectors backwards once, as far as the layers.

    Args:
        what: Whose loss it is, such as "term 'at'", for the message.
        features: Role to the student's feature (N, ...) or list of them, before any connector.
        values: The parts of the loss, scalars.

    Returns:
        Whether it was seen: a loss that is 0 and has no graph may have found nothing in this batch.

    Raises:
        ValueError: If no gradient of the loss reaches one of the layers.
    """
    total = torch.stack([value.float().reshape(()) for value in values]).sum()
    if not torch.is_grad_enabled() or (not total.requires_grad and total == 0):
        return False
    levels = [
        level
        for found in features.values()
        for level in (found if isinstance(found, list) else [found])
        if level.requires_grad
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


def _named(selectors: Sequence[LayerPath], level: int, levels: int) -> str:
    if len(selectors) == levels:
        return repr(selectors[level].text)
    text = ", ".join(selector.text for selector in selectors)
    return f"{text!r} #{level}"


def _is_compiled(node: Any) -> bool:
    """Return whether a graph has a compiled part, which hides what depends on what."""
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
