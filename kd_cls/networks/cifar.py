"""CIFAR networks by the names that distillation papers give them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kd_cls.networks.mobilenet_v2 import MobileNetV2
from kd_cls.networks.resnet import CifarResNet, ResNet
from kd_cls.networks.shufflenet import ShuffleNetV1, ShuffleNetV2
from kd_cls.networks.staged import StagedNetwork
from kd_cls.networks.vgg import VGG
from kd_cls.networks.wide_resnet import WideResNet
from kd_engine.weights.zoos import nearest_names

_WIDE = (32, 64, 128, 256)

CIFAR_NETWORKS: dict[str, Callable[..., StagedNetwork]] = {
    **{f"resnet{n}": partial(CifarResNet, depth=n) for n in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{n}x4": partial(CifarResNet, depth=n, widths=_WIDE) for n in (8, 32)},
    **{f"resnet{n}": partial(ResNet, depth=n) for n in (18, 34, 50)},
    **{f"wrn_{n}_{k}": partial(WideResNet, depth=n, width=k) for n in (16, 40) for k in (1, 2)},
    **{f"vgg{n}": partial(VGG, depth=n) for n in (8, 11, 13, 16, 19)},
    "mobilenet_v2_half": partial(MobileNetV2, width=0.5),
    "shufflenet_v1": ShuffleNetV1,
    "shufflenet_v2": ShuffleNetV2,
}


def CifarNetwork(name: str, num_classes: int) -> StagedNetwork:  # noqa: N802  a type in configs
    """Build a CIFAR network by its name.

    Args:
        name: A key of :data:`CIFAR_NETWORKS`: ``resnet20``, ``resnet8x4``, ``wrn_40_2``, ``vgg8``,
            ``mobilenet_v2_half``, ``shufflenet_v1``, ... ``resnet18``, ``resnet34`` and
            ``resnet50`` have a 3x3 stem, unlike torchvision's.
        num_classes: Number of classes.

    Returns:
        A module that turns images (N, 3, H, W) into logits (N, classes).

    Raises:
        ValueError: If there is no such network.

    Example:
        >>> CifarNetwork("wrn_16_2", num_classes=100).num_features
        128
    """
    if name not in CIFAR_NETWORKS:
        raise ValueError(
            f"there is no CIFAR network {name!r}. {nearest_names(name, list(CIFAR_NETWORKS))}"
        )
    return CIFAR_NETWORKS[name](num_classes=num_classes)
