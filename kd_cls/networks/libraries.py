"""Classifiers of torchvision and timm, with the same attributes as the CIFAR networks.

Both functions return the network itself under its own names, so that a term selects ``layer3`` of
a ResNet and ``features.6`` of a MobileNet, and checkpoints are those of the library. The
attribute ``num_classes`` is set on every one, as the CIFAR networks have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torchvision
from torch import nn

from kd_core.checkpoint.load import CheckpointError, load_weights
from kd_engine.weights.settings import loads_initial_weights
from kd_engine.weights.source import read_weights
from kd_engine.weights.zoos import (
    check_one_source,
    timm_model,
    torchvision_model,
    torchvision_weights,
)

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # auxiliary classifiers


@loads_initial_weights("checkpoint", "weights", "new_head")
def TorchvisionNetwork(  # noqa: N802  a config names it as a type
    name: str,
    num_classes: int,
    checkpoint: str | None = None,
    weights: str | None = None,
    new_head: bool = False,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a torchvision classifier.

    Args:
        name: Name for ``torchvision.models.get_model``, such as ``resnet50`` or ``vit_b_16``.
        num_classes: Number of classes.
        checkpoint: File or URL of weights, which must fit entirely.
        weights: Name of weights that torchvision publishes, such as ``DEFAULT``; downloaded.
        new_head: Leave out the last layer of those weights, whose classes are others: it starts
            at random.
        options: More arguments for the model, such as ``dict(width_mult=0.35)``.

    Returns:
        A module that turns images (N, 3, H, W) into logits (N, classes).

    Raises:
        ValueError: If both checkpoint and weights are given, ``new_head`` without either,
            torchvision has no such classifier, weights or option, or it returns more than logits.
        kd_core.checkpoint.CheckpointError: If the weights do not fit, strictly.

    Example:
        >>> import torch
        >>> network = TorchvisionNetwork("mobilenet_v3_small", num_classes=10).eval()
        >>> network(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """
    check_one_source(checkpoint, weights=weights)
    _check_head(new_head, checkpoint or weights)
    model: Any = torchvision_model(name, options or {}, torchvision.models, num_classes=num_classes)
    _check_plain(model, name, weights)
    model.num_classes = num_classes
    source = torchvision_weights(name, weights) if weights else checkpoint
    if source is not None:
        head = (f"{_last_layer(model)}.",) if new_head else ()
        _load(model, source, (*head, *_AUXILIARY))
    network: nn.Module = model
    return network


@loads_initial_weights("checkpoint", "pretrained", "new_head")
def TimmNetwork(  # noqa: N802  a config names it as a type
    name: str,
    num_classes: int,
    checkpoint: str | None = None,
    pretrained: bool = False,
    new_head: bool = False,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a timm classifier.

    Args:
        name: Name for ``timm.create_model``, such as ``resnet18`` or ``vit_small_patch16_224``.
        num_classes: Number of classes.
        checkpoint: File or URL of weights, which must fit entirely.
        pretrained: Take the weights that timm publishes; downloaded.
        new_head: Leave out the last layer of those weights, whose classes are others: it starts
            at random.
        options: More arguments for the model, such as ``dict(img_size=32)``.

    Returns:
        A module that turns images (N, 3, H, W) into logits (N, classes).

    Raises:
        ImportError: If timm is not installed.
        ValueError: If both checkpoint and pretrained are given, ``new_head`` without either, timm
            has no such model or option, or its published weights have other classes.
        kd_core.checkpoint.CheckpointError: If the checkpoint does not fit, strictly.

    Example:
        >>> import torch
        >>> network = TimmNetwork("resnet18", num_classes=10, options=dict(channels=(8, 8, 8, 8)))
        >>> network(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """
    check_one_source(checkpoint, pretrained=pretrained)
    _check_head(new_head, checkpoint or pretrained)
    model: Any = timm_model(name, options or {}, pretrained=pretrained, num_classes=num_classes)
    published = (getattr(model, "pretrained_cfg", None) or {}).get("num_classes")
    if pretrained and not new_head and published != num_classes:  # timm drops the head silently
        raise ValueError(
            f"the published weights of {name} have {published} classes, but num_classes is "
            f"{num_classes}. new_head=True starts the last layer at random."
        )
    if pretrained and new_head:
        model.reset_classifier(num_classes)
    if checkpoint is not None:
        _load(model, checkpoint, tuple(f"{head}." for head in _timm_heads(model) if new_head))
    network: nn.Module = model
    return network


def _check_head(new_head: bool, source: str | bool | None) -> None:
    if new_head and not source:
        raise ValueError(
            "new_head leaves out the last layer of loaded weights, but none are loaded. Without "
            "weights every layer starts at random."
        )


def _check_plain(model: nn.Module, name: str, weights: str | None) -> None:
    if getattr(model, "aux_logits", False):
        raise ValueError(
            f"a network must return logits alone, but in training {name} also returns those of "
            "its auxiliary classifiers. Give options=dict(aux_logits=False)."
        )
    if weights and getattr(model, "transform_input", None) is False:
        raise ValueError(
            f"the published weights of {name} expect images of another scale. Give options="
            "dict(aux_logits=False, transform_input=True), which converts ImageNet's."
        )


def _last_layer(model: nn.Module) -> str:
    """Name the layer that makes the logits; torchvision defines it last."""
    layers = [name for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return str(layers[-1])


def _timm_heads(model: Any) -> list[str]:
    """Name the layers that make the logits; models with a distillation token have two."""
    found = model.get_classifier()
    heads = found if isinstance(found, tuple | list) else [found]
    return [name for name, module in model.named_modules() if any(module is one for one in heads)]


def _load(model: nn.Module, source: str, left_out: tuple[str, ...]) -> None:
    weights = read_weights(source)
    try:
        load_weights(model, weights, source=source, ignore=("distiller.", "distiller_", *left_out))
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} If only the classes are others, new_head=True starts the last layer at "
            "random."
        ) from error
