"""Tied weights: tensors that a model has under several names, and a file under one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor, nn


def with_tied_weights(model: nn.Module, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in keys that a file does not have because the model shares their tensor with others.

    safetensors' `save_model` writes such a tensor once.

    Args:
        model: The model that will receive the weights.
        weights: Names and tensors.

    Returns:
        The weights, with the other names of tensors that are there. Names that the model does not
        have are left out where the file has the same tensor under one that it has: a training may
        give a part a second name (mmdet's DDQ-DETR does).
    """
    names = _names_of_places(model.state_dict())
    found = without_second_names(weights, model.state_dict)
    for shared in names.values():
        given = [name for name in shared if name in weights]
        if given and len(shared) > len(given):
            found |= {name: weights[given[0]] for name in shared if name not in weights}
    return found


def without_second_names(
    weights: Mapping[str, Any], names: Callable[[], Collection[str]]
) -> dict[str, Any]:
    """Leave out second names of tensors that a model does not have.

    Args:
        weights: Names and tensors, as a file or a state dict has them.
        names: Returns the model's names; called only if a tensor has two.
    """
    found = dict(weights)
    shared = [of for of in _names_of_places(weights).values() if len(of) > 1]
    ours = names() if shared else ()
    for of in shared:
        if any(name in ours for name in of):
            for name in of:
                if name not in ours:
                    del found[name]
    return found


def _names_of_places(weights: Mapping[str, Any]) -> dict[tuple[Any, ...], list[str]]:
    """Return the names of each tensor in memory."""
    names: dict[tuple[Any, ...], list[str]] = {}
    for name, value in weights.items():
        if isinstance(value, Tensor) and value.numel() and not value.is_meta:
            place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
            names.setdefault(place, []).append(name)
    return names
