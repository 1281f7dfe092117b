"""Trunks: networks of torchvision and timm without their classifier.

Both functions return the network's own modules under their own names, so that a term selects
``trunk.layer3`` of a ResNet and ``trunk.features.6`` of a MobileNet, whoever builds it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from kd_core.checkpoint.load import load_weights
from kd_core.checkpoint.state_dict import best_named
from kd_core.teacher import eval_mode
from kd_engine.networks import wanted_image_size
from kd_engine.weights.settings import loads_initial_weights
from kd_engine.weights.source import read_weights
from kd_engine.weights.zoos import (
    check_one_source,
    timm_model,
    torchvision_model,
    torchvision_weights,
)

_HEADS = ("avgpool", "pool", "classifier", "fc", "head", "heads")
_PROBE = 64  # pixels; enough for the strides of every convolutional network here
_USUAL = 128


@loads_initial_weights("checkpoint", "weights")
def TorchvisionTrunk(  # noqa: N802  a config names it as a type
    name: str,
    checkpoint: str | None = None,
    weights: str | None = None,
    options: Mapping[str, Any] | None = None,
    until: str | None = None,
) -> nn.Module:
    """Build a torchvision classifier without its head.

    Args:
        name: Name for ``torchvision.models.get_model``, such as ``resnet50``, ``mobilenet_v2`` or
            ``vit_b_16``.
        checkpoint: File or URL of weights for the classifier; its head is left out.
        weights: Name of weights that torchvision publishes, such as ``DEFAULT``; downloaded.
        options: More arguments for the model, such as ``dict(width_mult=0.35)``.
        until: Part to end with, such as ``features.11`` or ``layer3``: a shallower network that
            keeps the weights of what is left. Not of transformers.

    Returns:
        A module that turns images (N, 3, H, W) into a feature map (N, C, H', W'), of a vision
        transformer into tokens (N, L, C); its attribute ``num_features`` is C.

    Raises:
        ValueError: If both checkpoint and weights are given, torchvision has no such model,
            weights or option, or the model is not of a kind whose parts run one after another, or
            has no part ``until``.
        kd_core.checkpoint.CheckpointError: If the weights do not fit, strictly.
    """
    check_one_source(checkpoint, weights=weights)
    model = torchvision_model(name, options or {})
    source = torchvision_weights(name, weights) if weights else checkpoint
    if isinstance(model, VisionTransformer):
        if until is not None:
            raise ValueError(f"a transformer cannot end earlier, but until is {until!r}.")
        return _filled(_TransformerTrunk(model), source)
    trunk = _ConvolutionalTrunk(model, name)
    _filled(trunk, source)
    if until is not None:
        _cut(trunk, until.split("."), until)
        trunk.num_features = trunk.count_features(name)
    return trunk


@loads_initial_weights("checkpoint", "pretrained")
def TimmTrunk(  # noqa: N802  a config names it as a type
    name: str,
    checkpoint: str | None = None,
    pretrained: bool = False,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a timm model without its head.

    Args:
        name: Name for ``timm.create_model``, such as ``resnet18`` or ``vit_small_patch16_224``.
        checkpoint: File or URL of weights for the classifier; its head is left out.
        pretrained: Take the weights that timm publishes; downloaded.
        options: More arguments for the model, such as ``dict(channels=(16, 32, 64, 128))``.

    Returns:
        A module that turns images (N, 3, H, W) into a feature map (N, C, H', W'), of a vision
        transformer into tokens (N, L, C); its attribute ``num_features`` is C.

    Raises:
        ImportError: If timm is not installed.
        ValueError: If both checkpoint and pretrained are given, or timm has no such model or
            option.
        kd_core.checkpoint.CheckpointError: If the weights do not fit, strictly.
    """
    check_one_source(checkpoint, pretrained=pretrained)
    model = timm_model(name, options or {}, pretrained=pretrained, num_classes=0, global_pool="")
    if getattr(model, "output_fmt", "NCHW") == "NHWC":
        model.register_forward_hook(_channels_first)
    return _filled(model, checkpoint)


def image_size_of(*models: nn.Module) -> tuple[int, int]:
    """Return the height and width of images that embedders take: a transformer's own, or 128.

    Args:
        models: Embedders, or other modules; the first whose trunk has a fixed size decides.
    """
    for model in models:
        if (size := wanted_image_size(getattr(model, "trunk", model))) is not None:
            return size
    return _USUAL, _USUAL


class _ConvolutionalTrunk(nn.Sequential):
    """The parts of a torchvision network up to its global pooling."""

    def __init__(self, model: nn.Module, name: str) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for key, child in model.named_children():
            if key in _HEADS:
                break
            parts[key] = child
        if name.startswith("densenet"):
            parts["relu"] = nn.ReLU(inplace=True)
        super().__init__(parts)
        self.num_features = self.count_features(name)

    def count_features(self, name: str) -> int:
        """Run a small image, and count the channels that come out."""
        try:
            with torch.no_grad(), eval_mode(self):
                found: Tensor = self(torch.zeros(1, 3, _PROBE, _PROBE))
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"the parts of a trunk must run one after another, but those of {name} do not "
                f"({error}). Use TimmTrunk for it."
            ) from error
        if found.dim() != 4:
            raise ValueError(f"{name} gives no feature map, but {tuple(found.shape)}.")
        return int(found.shape[1])


class _TransformerTrunk(nn.Module):
    """A torchvision vision transformer up to its last norm."""

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.patch_size, self.image_size = model.patch_size, model.image_size
        self.num_features, self.num_prefix_tokens = int(model.hidden_dim), 1
        self.class_token = model.class_token
        self.conv_proj = model.conv_proj
        self.encoder = model.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (N, 3, H, W) into tokens (N, L, C), the class token first."""
        if images.shape[2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"this transformer takes images of {self.image_size} x {self.image_size}, but they "
                f"are {images.shape[2]} x {images.shape[3]}. Resize them, or give options="
                "dict(image_size=...)."
            )
        patches = self.conv_proj(images).flatten(start_dim=2).transpose(1, 2)  # (N, L - 1, C)
        token = self.class_token.expand(images.shape[0], -1, -1)
        tokens: Tensor = self.encoder(torch.cat([token, patches], dim=1))
        return tokens


def _channels_first(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    """Turn a map (N, H, W, C) into (N, C, H, W)."""
    return output.permute(0, 3, 1, 2)


def _cut(module: nn.Module, path: Sequence[str], until: str) -> None:
    """Drop everything after a part."""
    names = [name for name, _ in module.named_children()]
    if not isinstance(module, nn.Sequential) or path[0] not in names:
        raise ValueError(
            f"until must name a part of the network's sequence, but it is {until!r}. At that "
            f"place are {', '.join(names[:20])}."
        )
    for name in names[names.index(path[0]) + 1 :]:
        delattr(module, name)
    if path[1:]:
        _cut(module.get_submodule(path[0]), path[1:], until)


def _filled(trunk: nn.Module, source: str | None) -> nn.Module:
    """Load a classifier's weights without those of its head; everything else must fit."""
    if source is None:
        return trunk
    weights = best_named(read_weights(source), trunk.state_dict())
    kept = OrderedDict((k, v) for k, v in weights.items() if k.split(".")[0] not in _HEADS)
    kept._metadata = getattr(weights, "_metadata", None)  # type: ignore[attr-defined]
    load_weights(trunk, kept, source=source)
    return trunk
