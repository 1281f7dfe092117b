"""Tied weights: tensors that a model has under several names, and a file under one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def with_tied_weights(model: nn.Module, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in keys that a file does not have because the model shares their tensor with others.

    safetensors' `save_model` writes such a tensor once.

    Args:
        model: The model that will receive the weights.
        weights: Names and tensors.

    Returns:
        The weights, with the other names of tensors that are there.
    """
    names: dict[tuple[Any, ...], list[str]] = {}
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor) and value.numel() and not value.is_meta:
            place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
            names.setdefault(place, []).append(name)
    found = dict(weights)
    for shared in names.values():
        given = [name for name in shared if name in weights]
        if given and len(shared) > len(given):
            found |= {name: weights[given[0]] for name in shared if name not in weights}
    return found
