"""What the distiller adds to a student's dict of losses: names, sums and a check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def merge_losses(
    values: Mapping[str, Mapping[str, Tensor]], task: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Put the losses of all terms into one dict.

    Args:
        values: Term to its losses by their logged names.
        task: The student's own dict of losses.

    Raises:
        ValueError: If a name is there twice, for one of the two would be lost.
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


def check_finite(
    values: Mapping[str, Tensor], iteration: int, task: Mapping[str, Any] | None = None
) -> None:
    """Require that every term, and every loss of the student's own, is finite.

    Args:
        values: The terms by their logged names.
        iteration: For the message.
        task: The student's own dict of losses; a loss may be a list.

    Raises:
        FloatingPointError: Names each term or loss that is not, and the iteration.
    """
    own = {
        name: torch.stack([item.float().mean() for item in _flat(value)]).sum()
        for name, value in (task or {}).items()
        if "loss" in str(name) and _flat(value)
    }
    named = {**own, **values}
    if not named or bool(torch.isfinite(torch.stack(list(named.values()))).all()):
        return
    bad = ", ".join(f"{n} is {v.item()}" for n, v in named.items() if not torch.isfinite(v))
    if all(bool(torch.isfinite(value)) for value in values.values()):
        raise FloatingPointError(
            f"every loss of the student's own must be finite, but at iteration {iteration} {bad}. "
            "Lower the learning rate, clip gradients, or look for wrong annotations and "
            "non-finite images."
        )
    raise FloatingPointError(
        f"every distillation term must be finite, but at iteration {iteration} {bad}. "
        "Lower the learning rate or the term's weight, add a LinearWarmup, or look for "
        "non-finite images and teacher weights."
    )


def total_loss(task: Mapping[str, Any]) -> dict[str, Tensor]:
    """Add up a student's own losses, as ``task``; nothing if it has none.

    Args:
        task: Name to scalar, or to a list of them; names without "loss" are statistics.
    """
    flat = [one for name, value in task.items() if "loss" in str(name) for one in _flat(value)]
    return {"task": torch.stack([item.float().mean() for item in flat]).sum()} if flat else {}


def _flat(value: Any) -> list[Tensor]:
    items = value if isinstance(value, list | tuple) else [value]
    return [item for item in items if isinstance(item, Tensor)]
