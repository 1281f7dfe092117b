"""Model zoos: networks of torchvision and timm by name, and their published weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from torch import nn
from torchvision.models import get_model, get_model_weights, list_models

from kd_core.packages import missing_package


def torchvision_model(
    name: str, options: Mapping[str, Any], module: ModuleType | None = None, **fixed: Any
) -> nn.Module:
    """Build a torchvision model with random weights.

    Args:
        name: Name for ``torchvision.models.get_model``.
        options: More arguments for the model.
        module: Accept only models of this module, such as ``torchvision.models`` for classifiers.
        fixed: Arguments for the model that the options must not set.

    Raises:
        ValueError: If torchvision has no such model, or the model no such option.
    """
    if name.lower() not in (names := list_models(module=module)):
        raise ValueError(
            f"torchvision has no {'model' if module is None else 'classifier'} {name!r}. "
            f"{nearest_names(name, names)}"
        )
    try:
        model: nn.Module = get_model(name, weights=None, **fixed, **options)
    except TypeError as error:
        raise ValueError(f"{name} of torchvision with options={options}: {error}.") from error
    return model


def torchvision_weights(name: str, weights: str) -> str:
    """Return the URL of weights that torchvision publishes for a model.

    Args:
        name: Name of the model.
        weights: Name of the weights, such as ``DEFAULT`` or ``IMAGENET1K_V1``.

    Raises:
        ValueError: If there are no such weights.
    """
    published = get_model_weights(name).__members__
    if weights not in published:
        raise ValueError(
            f"torchvision has no weights {weights!r} of {name}. It has {', '.join(published)}."
        )
    return str(published[weights].url)


def timm_model(name: str, options: Mapping[str, Any], **fixed: Any) -> nn.Module:
    """Build a timm model.

    Args:
        name: Name for ``timm.create_model``.
        options: Its other arguments, and those of the model.
        fixed: Arguments that the options must not set.

    Raises:
        ImportError: If timm is not installed.
        ValueError: If timm has no such model, or the model no such option.
    """
    try:
        import timm
    except ImportError as error:
        raise missing_package(f"network {name!r}", "timm") from error
    if not timm.is_model(name):
        raise ValueError(f"timm has no model {name!r}. {nearest_names(name, timm.list_models())}")
    try:
        model: nn.Module = timm.create_model(name, **fixed, **options)
    except TypeError as error:
        raise ValueError(f"{name} of timm with options={options}: {error}.") from error
    return model


def check_one_source(checkpoint: str | None, **published: str | bool | None) -> None:
    """Check that a network starts from one set of weights at most.

    Args:
        checkpoint: File or URL of weights, or ``None``.
        published: The other argument that asks for weights, by its name.

    Raises:
        ValueError: If both are given.
    """
    for argument, value in published.items():
        if checkpoint is not None and value:
            raise ValueError(
                "a network starts from one set of weights, but it is given "
                f"checkpoint={checkpoint!r} and {argument}={value!r}. Leave one of them out."
            )


def nearest_names(name: str, names: Sequence[str]) -> str:
    """Return a sentence with the names that are like a wrong one."""
    near = difflib.get_close_matches(name, names, n=5)
    return f"The nearest names: {', '.join(near)}." if near else f"It has {len(names)} others."
